"""A Parquet file that grows from run to run and remembers how far it has read.

What a run adds becomes visible at once: the old rows and the new ones are written to `.NAME.part` beside the file,
which then takes its place. So whoever reads sees a whole file at any moment, and a run that is killed leaves the old
one as it was. (Parquet has its index at its end: row groups that are appended in place are unreadable until that is
written again, and lost if it never is.)
"""

import fcntl
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from cli.errors import Failed, WrongUse
from cli.rows import TIME, Columns, Row

ROWS = 10_000  # of a row group: a few megabytes, all that a run holds in memory
BYTES = 32 * 1024 * 1024  # or at most these, where events carry whole documents
KEY = b"antiphon.export"


class Mark(msgspec.Struct, frozen=True):
    """The file's memory: the kind of its rows, the journal, and the last sequence number that was read."""

    what: str
    journal: str
    after: int


class Growing:
    """A file that grows, opened by `growing`. mark: None for a new file. old: the number of its earlier rows."""

    def __init__(self, path: Path, part: Path, what: str, columns: Columns) -> None:
        self._path, self._part = path, part
        self._what = what
        self._schema = _schema(columns)
        self._writer: Any = None
        self._waiting: list[Row] = []
        self._bytes = 0
        self._journal = ""
        self._after = 0
        self._whole = True  # no row group is half-written
        self.mark: Mark | None = None
        self.old = 0
        if path.exists():
            self.mark, self.old = self._look()
        self.added = 0

    def continues(self, journal: str) -> int:
        """Return the sequence number to read on after. Raises WrongUse if the rows are of another journal."""
        if self.mark and self.mark.journal != journal:
            raise WrongUse(
                f"cannot add to {self._path}: it holds the {self._what} of another journal. Name another file."
            )
        self._journal = journal
        return self.mark.after if self.mark else 0

    def add(self, rows: list[Row], after: int) -> None:
        """Add new rows. last: the journal's sequence number that has been read with them. Raises Failed."""
        with self._half_done():
            self._waiting += rows
            self._bytes += sum(len(value) for row in rows for value in row.values() if isinstance(value, str))
            self.added += len(rows)
            self._after = after
            if len(self._waiting) >= ROWS or self._bytes >= BYTES:
                self._write()

    def finish(self) -> None:
        """Put the file with its new rows in place; no change if there are none. Raises Failed."""
        if not self.added or not self._whole:
            return
        with self._half_done():
            self._write()
            mark = msgspec.json.encode(Mark(self._what, self._journal, self._after))
            self._writer.add_key_value_metadata({KEY: mark})
            self._writer.close()
            with self._part.open("rb") as written:
                os.fsync(written.fileno())
            if self._path.exists():
                shutil.copymode(self._path, self._part)
            self._part.replace(self._path)

    def _write(self) -> None:
        import pyarrow
        import pyarrow.parquet

        if self._writer is None:
            self._writer = pyarrow.parquet.ParquetWriter(self._part, self._schema, compression="zstd")
            self._copy_old()
        self._writer.write_table(pyarrow.Table.from_pylist(self._waiting, self._schema))
        self._waiting, self._bytes = [], 0

    def _copy_old(self) -> None:
        """Yield the old rows; small groups of earlier runs are joined."""
        import pyarrow
        import pyarrow.parquet

        if not self.old:
            return
        held: list[Any] = []
        with pyarrow.parquet.ParquetFile(self._path) as old:
            for batch in old.iter_batches(ROWS):
                held.append(batch)
                if sum(part.num_rows for part in held) >= ROWS or sum(part.nbytes for part in held) >= BYTES:
                    self._writer.write_table(pyarrow.Table.from_batches(held, self._schema))
                    held = []
        if held:
            self._writer.write_table(pyarrow.Table.from_batches(held, self._schema))

    def _look(self) -> tuple[Mark, int]:
        import pyarrow
        import pyarrow.parquet

        strange = WrongUse(f"cannot add to {self._path}: it is no export of Antiphon. Name another file.")
        try:
            with pyarrow.parquet.ParquetFile(self._path) as file:
                mark = msgspec.json.decode((file.metadata.metadata or {})[KEY], type=Mark)
                schema, rows = file.schema_arrow.remove_metadata(), file.metadata.num_rows
        except (pyarrow.ArrowException, KeyError, msgspec.MsgspecError):
            raise strange from None
        except OSError as error:
            raise WrongUse(f"cannot read {self._path}: {error.strerror or error}") from None
        if mark.what != self._what:
            raise WrongUse(
                f"cannot add to {self._path}: it holds {mark.what}. Name another file, or set --what {mark.what}."
            )
        if not schema.equals(self._schema):
            raise WrongUse(
                f"cannot add to {self._path}: its columns are of another version of Antiphon. Name another file."
            )
        return mark, rows

    @contextmanager
    def _half_done(self) -> Iterator[None]:
        """Mark the file as half-written; an exception leaves the mark, so that the file is not put in place."""
        self._whole = False
        try:
            yield
        except OSError as error:
            raise Failed(f"cannot write {self._path}: {error.strerror or error}. The file is unchanged.") from None
        self._whole = True


@contextmanager
def growing(path: Path, what: str, columns: Columns) -> Iterator[Growing]:
    """Open the file at `path` for more rows, locked against other runs. Raises WrongUse or Failed.

    On leaving, also by an error or Ctrl-C, the rows that were added are kept.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise WrongUse("cannot export: pyarrow is not installed. Run pip install -e '.[export]'.")
    path = path.resolve()  # a symbolic link stays in place
    if path.is_dir():
        raise WrongUse(f"cannot write {path}: it is a folder. Name a file in it.")
    if path.exists() and not path.is_file():
        raise WrongUse(f"cannot write {path}: it is not a file. Name one.")
    part = path.with_name(f".{path.name}.part")
    held = _hold(path, part)
    try:
        file = Growing(path, part, what, columns)
        try:
            yield file
        finally:
            file.finish()
    finally:
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(held), part.stat()):  # it has not been renamed to `path`
                part.unlink()
        os.close(held)


def _hold(path: Path, part: Path) -> int:
    """Lock `part`, which is new or left by a run that was killed. It is private: it holds what callers said."""
    while True:
        try:
            held = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise WrongUse(f"cannot write {path}: {error.strerror}") from None
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(held), part.stat()):
                return held
        except BlockingIOError:
            os.close(held)
            raise Failed(
                f"cannot write {path}: another export is writing it. Wait for it, or name another file."
            ) from None
        except FileNotFoundError:  # another run has just renamed it to `path`
            pass
        os.close(held)


def _schema(columns: Columns) -> Any:
    import pyarrow

    types = {
        int: pyarrow.int64(),
        str: pyarrow.string(),
        bool: pyarrow.bool_(),
        TIME: pyarrow.timestamp("us", tz="UTC"),
    }
    return pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])
