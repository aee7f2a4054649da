"""Merge the layers of a configuration, compare two documents, and name where each field comes from. Pure.

A layer is a document of maps, lists and plain values, as JSON has them. A map merges into the map below it; a list or a
plain value replaces what is below; null takes away what is below (RFC 7396).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

ABSENT = object()  # of a field that a document does not have


class Change(NamedTuple):
    """A field that differs. path: such as `turns.min_delay_ms`. before, after: ABSENT where there is no such field."""

    path: str
    before: Any
    after: Any


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with the fields of `above` in it. Neither is changed."""
    merged = {} if _other_provider(below, above) else dict(below)
    for name, value in above.items():
        lower = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            merged[name] = merge(lower if isinstance(lower, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def _other_provider(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    """Return whether `above` chooses another provider: the options below are those of the old one."""
    provider = above.get("provider")
    return isinstance(provider, str) and below.get("provider", provider) != provider


def resolve(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return all layers merged, the lowest first."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = merge(merged, layer)
    return merged


def fields(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, value) of each field; lists and empty maps are one value."""
    for name, value in document.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from fields(value, f"{path}.")
        else:
            yield path, value


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return the fields that differ, in the order of their paths."""
    old, new = dict(fields(before)), dict(fields(after))
    changes = (Change(path, old.get(path, ABSENT), new.get(path, ABSENT)) for path in sorted({*old, *new}))
    return [change for change in changes if change.before != change.after or _kinds_differ(change)]


def _kinds_differ(change: Change) -> bool:
    return type(change.before) is not type(change.after)  # Python holds 1, 1.0 and True for equal


def origins(layers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return path -> name of the layer that its value comes from. layers: by name, the lowest first."""
    found: dict[str, str] = {}
    merged: dict[str, Any] = {}
    for name, layer in layers.items():
        before, merged = merged, merge(merged, layer)
        kept, named = dict(fields(before)), dict(fields(layer))
        for path, value in fields(merged):
            if path not in kept or path in named or kept[path] != value:
                found[path] = name
    return {path: found[path] for path, _value in fields(merged)}
