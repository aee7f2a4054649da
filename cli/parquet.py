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

ROWS = 10_000  # of a row group: a few megabytes, which is what a run holds in memory
BYTES = 32 * 1024 * 1024  # or so many, where events carry whole documents
KEY = b"antiphon.export"


class Mark(msgspec.Struct, frozen=True):
    """What the file remembers: rows of what, from which journal, and the last sequence of it that was read."""

    what: str
    journal: str
    after: int


class Growing:
    """Made by `growing`. mark: None while the file is a new one. old: rows it held before."""

    def __init__(self, path: Path, part: Path, what: str, columns: Columns) -> None:
        self._path, self._part = path, part
        self._what = what
        self._schema = _schema(columns)
        self._writer: Any = None
        self._waiting: list[Row] = []
        self._bytes = 0
        self._journal = ""
        self._after = 0
        self._whole = True  # nothing is half-written
        self.mark: Mark | None = None
        self.old = 0
        if path.exists():
            self.mark, self.old = self._look()
        self.added = 0

    def continues(self, journal: str) -> int:
        """The sequence of this journal to read on after; raises WrongUse if the rows are of another one."""
        if self.mark and self.mark.journal != journal:
            raise WrongUse(f"{self._path} holds the {self._what} of another journal: name another file")
        self._journal = journal
        return self.mark.after if self.mark else 0

    def add(self, rows: list[Row], after: int) -> None:
        """Rows that are new, and the sequence up to which the journal is read with them. Raises Failed."""
        with self._half_done():
            self._waiting += rows
            self._bytes += sum(len(value) for row in rows for value in row.values() if isinstance(value, str))
            self.added += len(rows)
            self._after = after
            if len(self._waiting) >= ROWS or self._bytes >= BYTES:
                self._write()

    def finish(self) -> None:
        """Let the file be seen with its new rows; no change if there are none. Raises Failed."""
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
        """The old rows, small groups of earlier runs joined."""
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

        strange = WrongUse(f"{self._path} is no export of ours: name another file")
        try:
            with pyarrow.parquet.ParquetFile(self._path) as file:
                mark = msgspec.json.decode((file.metadata.metadata or {})[KEY], type=Mark)
                schema, rows = file.schema_arrow.remove_metadata(), file.metadata.num_rows
        except (pyarrow.ArrowException, KeyError, msgspec.MsgspecError):
            raise strange from None
        except OSError as error:
            raise WrongUse(f"{self._path} cannot be read: {error.strerror or error}") from None
        if mark.what != self._what:
            raise WrongUse(f"{self._path} holds {mark.what}: name another file, or say --what {mark.what}")
        if not schema.equals(self._schema):
            raise WrongUse(f"{self._path} has the columns of another version of antiphon: name another file")
        return mark, rows

    @contextmanager
    def _half_done(self) -> Iterator[None]:
        """While this lasts nothing may be kept; it lasts for ever if something goes wrong."""
        self._whole = False
        try:
            yield
        except OSError as error:
            raise Failed(f"{self._path} cannot be written: {error.strerror or error}; it is as it was") from None
        self._whole = True


@contextmanager
def growing(path: Path, what: str, columns: Columns) -> Iterator[Growing]:
    """The file at `path` to add to, kept from other runs meanwhile. Raises WrongUse, Failed.

    On leaving, also by an error or Ctrl-C, the rows that were added are kept.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise WrongUse("an export needs pyarrow: pip install -e '.[export]'")
    path = path.resolve()  # a link stays one
    if path.is_dir():
        raise WrongUse(f"{path} is a folder: name a file in it")
    if path.exists() and not path.is_file():
        raise WrongUse(f"{path} is not a file: name one")
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
            if os.path.samestat(os.fstat(held), part.stat()):  # it has not become the file
                part.unlink()
        os.close(held)


def _hold(path: Path, part: Path) -> int:
    """Lock `part`, empty or left by a run that was killed; readable by nobody else, for it holds what people said."""
    while True:
        try:
            held = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise WrongUse(f"{path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(held), part.stat()):
                return held
        except BlockingIOError:
            os.close(held)
            raise Failed(f"another export is writing {path}: wait for it, or name another file") from None
        except FileNotFoundError:  # another run has just made it the file
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
