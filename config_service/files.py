"""Agents as people write them: files of YAML or JSON, all of them checked before any is used."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from config_service import documents
from config_service.documents import BadDocument
from schemas.agent import AgentDocument

SUFFIXES = (".yaml", ".yml", ".json")


def read_text(text: str, name: str) -> list[AgentDocument]:
    """The documents of one file, YAML (several apart by `---`) or JSON; `name` is what errors call it."""
    try:
        found = [json.loads(text)] if name.endswith(".json") else list(yaml.load_all(text, _Plain))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadDocument(f"{name}, line {line}: {error.problem or 'not YAML'}") from None
    except (yaml.YAMLError, json.JSONDecodeError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        raise BadDocument(f"{name}, line {line}: {' '.join(str(error).split())}") from None
    agents = []
    for data in found:
        if data is None:
            continue
        try:
            agents.append(documents.parse(data))
        except BadDocument as wrong:
            raise BadDocument(f"{name}: {wrong}") from None
    if not agents:
        raise BadDocument(f"{name}: empty: an agent needs at least an id")
    return agents


def read_files(paths: Iterable[Path]) -> list[AgentDocument]:
    """Every agent in the files and folders, each id once; raises BadDocument before anything is returned."""
    agents: dict[str, tuple[AgentDocument, Path]] = {}
    for path in paths:
        for file in _files(path):
            try:
                text = file.read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
                raise BadDocument(f"{file}: {reason}") from None
            for document in read_text(text, str(file)):
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


class _Plain(yaml.SafeLoader):
    """Safe YAML without aliases: a few lines of them can name a document of gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            told = "aliases (*name) are not taken: write it out"
            raise yaml.composer.ComposerError(None, None, told, self.get_mark())
        return super().compose_node(parent, index)
