"""Read agents from files of YAML or JSON; all of them are checked before any is used."""

from collections.abc import Iterable
from pathlib import Path

from config_service import documents
from config_service.documents import BadDocument
from config_service.source_text import BadText, Source, read_json, read_yaml
from schemas.agent import AgentDocument

SUFFIXES = (".yaml", ".yml", ".json")


def read_text(text: str, name: str) -> list[AgentDocument]:
    """Return the agents of one text, YAML (several apart by `---`) or JSON. Raises BadDocument.

    name: what errors call the text; a name that ends in `.json` asks for JSON.
    """
    agents = []
    try:
        for source in _documents(text, name):
            if source.data is not None:
                agents.append(documents.parse(source.data, source.places))
    except (BadText, BadDocument) as wrong:
        where = f"{name}, line {wrong.line}" if wrong.line else name
        raise BadDocument(f"{where}: {wrong}", wrong.line) from None
    if not agents:
        raise BadDocument(f"{name}: empty: an agent needs at least an id")
    return agents


def _documents(text: str, name: str) -> list[Source]:
    try:
        if name.endswith(".json") or text.lstrip().startswith("{"):
            return [read_json(text)]
    except BadText:
        if name.endswith(".json"):
            raise
    return read_yaml(text)


def read_bytes(data: bytes, name: str) -> list[AgentDocument]:
    """Return the agents of one file's bytes, UTF-8 with or without a byte order mark. Raises BadDocument."""
    try:
        return read_text(data.decode("utf-8-sig"), name)
    except UnicodeDecodeError:
        raise BadDocument(f"{name}: not UTF-8 text") from None


def read_files(paths: Iterable[Path]) -> list[AgentDocument]:
    """Return every agent in the files and folders, each id once. Raises BadDocument if any of them is wrong."""
    agents: dict[str, tuple[AgentDocument, Path]] = {}
    for path in paths:
        for file in _files(path):
            try:
                data = file.read_bytes()
            except OSError as error:
                raise BadDocument(f"{file}: {error.strerror}") from None
            for document in read_bytes(data, str(file)):
                if document.id in agents:
                    raise BadDocument(f"{file}: agent {document.id} is in {agents[document.id][1]} already")
                agents[document.id] = (document, file)
    return [document for document, _file in agents.values()]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if not files:
        raise BadDocument(f"{path}: no {', '.join(SUFFIXES)} file in this folder")
    return files
