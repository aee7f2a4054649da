"""Read agents, campaigns and phone numbers from YAML or JSON; all of them are checked before any is used."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from config_service import documents
from config_service.campaigns import parse_campaign, parse_number
from config_service.documents import BadDocument
from config_service.keys import Key, key_text
from config_service.source_text import BadText, Source, read_json, read_yaml
from schemas.agent import AgentDocument
from schemas.campaign import CampaignDocument, PhoneNumber

SUFFIXES = (".yaml", ".yml", ".json")

Document = AgentDocument | CampaignDocument | PhoneNumber


class Bundle(NamedTuple):
    """What files hold, to be stored together."""

    agents: list[AgentDocument]
    campaigns: list[CampaignDocument]
    numbers: list[PhoneNumber]


def read_text(text: str, name: str) -> list[AgentDocument]:
    """Return the agents of one text, YAML (several apart by `---`) or JSON. Raises BadDocument.

    name: what errors call the text; a name that ends in `.json` asks for JSON.
    """
    return _agents(_read(text, name), name)


def _agents(found: list[Document], name: str) -> list[AgentDocument]:
    agents = [document for document in found if isinstance(document, AgentDocument)]
    if len(agents) < len(found):
        raise BadDocument(f"{name}: holds more than agents: use `antiphon agent import`")
    return agents


def _read(text: str, name: str) -> list[Document]:
    found = []
    try:
        for source in _documents(text, name):
            if source.data is not None:
                found.append(_parse(source))
    except (BadText, BadDocument) as wrong:
        where = f"{name}, line {wrong.line}" if wrong.line else name
        raise BadDocument(f"{where}: {wrong}", wrong.line) from None
    if not found:
        raise BadDocument(f"{name}: empty: an agent needs at least an id")
    return found


def _parse(source: Source) -> Document:
    """Tell the kinds apart by a field that no other kind has."""
    names = source.data if isinstance(source.data, dict) else {}
    if "number" in names:
        return parse_number(source.data, source.places)
    if "campaign" in names or "overrides" in names:
        return parse_campaign(source.data, source.places)
    return documents.parse(source.data, source.places)


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
    return _agents(_read_bytes(data, name), name)


def _read_bytes(data: bytes, name: str) -> list[Document]:
    try:
        return _read(data.decode("utf-8-sig"), name)
    except UnicodeDecodeError:
        raise BadDocument(f"{name}: not UTF-8 text") from None


def read_files(paths: Iterable[Path]) -> list[AgentDocument]:
    """Return every agent in the files and folders, each id once. Raises BadDocument if any of them is wrong."""
    given = list(paths)
    bundle = read_bundle(given)
    if bundle.campaigns or bundle.numbers:
        raise BadDocument(f"{given[0]}: holds more than agents: use `antiphon agent import`")
    return bundle.agents


def bundle_bytes(data: bytes, name: str) -> Bundle:
    """Return what one file's bytes hold. Raises BadDocument."""
    return _sorted(_read_bytes(data, name))


def read_bundle(paths: Iterable[Path]) -> Bundle:
    """Return what the files and folders hold, each document once. Raises BadDocument if any of them is wrong."""
    found: dict[str, tuple[Document, Path]] = {}
    for path in paths:
        for file in _files(path):
            try:
                data = file.read_bytes()
            except OSError as error:
                raise BadDocument(f"{file}: {error.strerror}") from None
            for document in _read_bytes(data, str(file)):
                name = _name(document)
                if name in found:
                    raise BadDocument(f"{file}: {name} is in {found[name][1]} already")
                found[name] = (document, file)
    return _sorted([document for document, _file in found.values()])


def _sorted(found: list[Document]) -> Bundle:
    return Bundle(
        [document for document in found if isinstance(document, AgentDocument)],
        [document for document in found if isinstance(document, CampaignDocument)],
        [document for document in found if isinstance(document, PhoneNumber)],
    )


def _name(document: Document) -> str:
    if isinstance(document, AgentDocument):
        return f"agent {document.id}"
    if isinstance(document, CampaignDocument):
        return f"campaign {key_text(Key(document.agent, document.campaign))}"
    return f"number {document.number}"


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if not files:
        raise BadDocument(f"{path}: no {', '.join(SUFFIXES)} file in this folder")
    return files
