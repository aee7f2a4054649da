"""Read agent documents from YAML 1.2 or JSON text, with the line of each value, and write them as YAML.

YAML 1.2 keeps `yes`, `no`, `12:30` and `2026-01-01` as text, and reads `0300` as 300. YAML 1.1, which PyYAML reads by
itself, turned them into true, false, 750, a date and 192. JSON is YAML 1.2 in the standard, not in PyYAML: it refuses
tabs and splits surrogate pairs. So JSON text is read by `json`.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml
import yamlcore

Path = tuple[str | int, ...]  # from the root of a document to a value: ("facts", 0, "text")

_TAG = "tag:yaml.org,2002:"
_TYPED = tuple(_TAG + name for name in ("int", "float", "bool"))
_SCALARS = (*_TYPED, _TAG + "str", _TAG + "null")
_NO_TAGS = "tags (!name) are not read. Write plain values, and quote a text that begins with !."
_NO_ALIASES = "anchors (&name) and aliases (*name) are not read. Write it out; quote a text that begins with & or *."
_REASONS = {  # PyYAML's context -> what to say in place of its problem
    "while scanning an alias": _NO_ALIASES,
    "while scanning an anchor": _NO_ALIASES,
    "while scanning a tag": _NO_TAGS,
}
_REMEDIES = {  # PyYAML's problem -> what to do
    "mapping values are not allowed here": "Quote a text that holds ': '.",
    "found character '\\t' that cannot start any token": "Indent with spaces, not with tabs.",
    "found character '%' that cannot start any token": "Quote a text that begins with %.",
    "found character '@' that cannot start any token": "Quote a text that begins with @.",
    "found character '`' that cannot start any token": "Quote a text that begins with `.",
}


class BadText(ValueError):
    """The text is neither YAML nor JSON. line: 1 for the first."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


class Place(NamedTuple):
    """Where a value stands. line: 1 for the first. text: a number or a boolean as it was written, without quotes."""

    line: int
    text: str | None = None


Places = Mapping[Path, Place]
NOWHERE: Places = MappingProxyType({})


class Source(NamedTuple):
    """One document of a text: maps, lists and scalars, and the place of each."""

    data: Any
    places: Places


def read_yaml(text: str) -> list[Source]:
    """Return the documents of a YAML 1.2 text, those apart by `---` one by one. Raises BadText."""
    try:
        return list(_documents(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = _REASONS.get(error.context or "") or error.problem or "not YAML"
        remedy = _REMEDIES.get(problem)
        raise BadText(mark.line + 1 if mark else 1, f"{problem}. {remedy}" if remedy else problem) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise BadText(line, f"the character U+{int(error.character):04X} is not allowed in YAML") from None
    except RecursionError:
        raise BadText(1, "nested too deeply") from None


def read_json(text: str) -> Source:
    """Return the document of a JSON text. Raises BadText."""
    try:
        data = json.loads(text, object_pairs_hook=_each_once)
    except json.JSONDecodeError as error:
        raise BadText(error.lineno, error.msg) from None
    except (ValueError, RecursionError) as error:
        raise BadText(1, str(error)) from None
    places: Places = NOWHERE
    with suppress(BadText, IndexError):  # where PyYAML reads it, too, errors name their line; quotes count in JSON
        places = {path: Place(place.line) for path, place in read_yaml(text)[0].places.items()}
    return Source(data, places)


def write_yaml(data: Any) -> str:
    """Return YAML that readers of 1.1 and of 1.2 understand alike."""
    return yaml.dump(data, Dumper=_Writer, sort_keys=False, allow_unicode=True)


def _documents(text: str) -> Iterator[Source]:
    reader = _Reader(text)
    try:
        while reader.check_node():
            places: dict[Path, Place] = {}
            node = reader.get_node()
            yield Source(reader.value(node, (), places, node.start_mark), places)
    finally:
        reader.dispose()


class _Reader(yamlcore.CoreLoader):  # type: ignore[misc]  # yamlcore ships no types
    """Core-schema YAML without tags and aliases: a few lines of aliases can name a document of gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            raise yaml.composer.ComposerError(None, None, _NO_ALIASES, event.start_mark)
        return super().compose_node(parent, index)

    def value(self, node: yaml.Node, path: Path, places: dict[Path, Place], mark: yaml.Mark) -> Any:
        """Return a node's value and note the places of the values in it. mark: where its line is."""
        places[path] = Place(mark.line + 1)
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            if node.tag in _TYPED and node.style is None:
                places[path] = Place(mark.line + 1, node.value)
            return self._scalar(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(item, (*path, at), places, item.start_mark) for at, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            mapping: dict[str, Any] = {}
            for key, item in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise _wrong(key, "a name is one line of text")
                if key.value in mapping:
                    raise _wrong(key, f"{key.value!r} is there twice. Keep one of them.")
                mapping[key.value] = self.value(item, (*path, key.value), places, key.start_mark)
            return mapping
        raise _wrong(node, _NO_TAGS)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        try:
            return self.construct_object(node)
        except (ValueError, KeyError, IndexError):  # `!!int soon`, or a number of more digits than Python reads
            raise _wrong(node, f"not a value of type {node.tag.removeprefix(_TAG)}") from None


class _Writer(yaml.SafeDumper):
    """Quotes what 1.1 would not read as text, and by the resolvers added below what 1.2 would not."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(writer: yaml.SafeDumper, text: str) -> yaml.Node:
    """Lines stand as lines, for whoever edits a prompt."""
    other_breaks = any(mark in text for mark in "\x85\u2028\u2029")  # PyYAML folds them away outside double quotes
    style = '"' if other_breaks else "|" if "\n" in text else None
    return writer.represent_scalar(_TAG + "str", text, style)


_Writer.add_representer(str, _text)
for _first, _resolvers in yamlcore.CoreLoader.yaml_implicit_resolvers.items():
    for _tag, _pattern in _resolvers:
        _Writer.add_implicit_resolver(_tag, _pattern, [_first])


def _wrong(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for name, value in pairs:
        if name in mapping:
            raise ValueError(f"{name!r} is there twice. Keep one of them.")
        mapping[name] = value
    return mapping
