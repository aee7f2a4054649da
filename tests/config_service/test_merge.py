"""Layers, differences and origins, as plain maps."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config_service.merge import ABSENT, Change, diff, fields, merge, origins, resolve

LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.text("ab", max_size=2) | st.lists(st.integers(0, 2))
NAMES = st.sampled_from(["a", "b", "provider", "options"])
LAYERS = st.recursive(LEAVES, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=8)
MAPS = st.dictionaries(NAMES, LAYERS, max_size=4)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    return value


@pytest.mark.parametrize(
    ("below", "above", "merged"),
    [
        ({"greeting": "Hi", "name": "A"}, {"greeting": "Hello"}, {"greeting": "Hello", "name": "A"}),
        ({"turns": {"min": 1, "max": 2}}, {"turns": {"min": 3}}, {"turns": {"min": 3, "max": 2}}),
        ({"facts": [1, 2]}, {"facts": [3]}, {"facts": [3]}),
        ({"greeting": "Hi", "name": "A"}, {"greeting": None}, {"name": "A"}),
        ({"turns": {"min": 1, "max": 2}}, {"turns": {"min": None}}, {"turns": {"max": 2}}),
        (
            {"llm": {"provider": "local", "options": {"answers": "matched"}}},
            {"llm": {"provider": "openai", "options": {"model": "m"}}},
            {"llm": {"provider": "openai", "options": {"model": "m"}}},
        ),
        (
            {"llm": {"provider": "openai", "options": {"model": "m", "top_p": 1}}},
            {"llm": {"options": {"model": "n"}}},
            {"llm": {"provider": "openai", "options": {"model": "n", "top_p": 1}}},
        ),
    ],
)
def test_a_layer_changes_what_it_names(below: Any, above: Any, merged: Any) -> None:
    assert merge(below, above) == merged


@given(MAPS, MAPS)
def test_nothing_that_a_layer_names_is_lost_and_no_input_changes(below: dict[str, Any], above: dict[str, Any]) -> None:
    before = repr((below, above))
    merged = merge(below, above)
    assert repr((below, above)) == before
    named = dict(fields(without_nulls(above)))
    got = dict(fields(merged))
    for path, value in named.items():
        if value != {}:  # an empty map changes nothing below it
            assert got[path] == value
    assert merge(merged, above) == merged


@given(MAPS, MAPS)
def test_a_difference_is_empty_only_between_equals(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert diff(before, before) == []
    assert (diff(before, after) == []) == (
        {path: repr(value) for path, value in fields(before)} == {path: repr(value) for path, value in fields(after)}
    )


def test_a_difference_names_paths_and_what_is_absent() -> None:
    old = {"id": "desk", "turns": {"min_delay_ms": 300}, "facts": []}
    new = {"id": "desk", "turns": {"min_delay_ms": 200}, "greeting": "Hi"}
    assert diff(old, new) == [
        Change("facts", [], ABSENT),
        Change("greeting", ABSENT, "Hi"),
        Change("turns.min_delay_ms", 300, 200),
    ]


@given(st.lists(MAPS, max_size=4))
def test_every_field_has_the_origin_of_a_layer(layers: list[dict[str, Any]]) -> None:
    named = {str(number): layer for number, layer in enumerate(layers)}
    assert list(origins(named)) == [path for path, _value in fields(resolve(layers))]


def test_the_highest_layer_that_names_a_field_is_its_origin() -> None:
    layers: dict[str, dict[str, Any]] = {
        "default": {"greeting": "", "turns": {"min": 300, "max": 2500}, "llm": {"provider": "local"}},
        "environment": {"greeting": "Hi", "llm": {"provider": "openai", "options": {"model": "m"}}},
        "agent": {"greeting": "Hello", "turns": {"min": 300}},
        "campaign": {"greeting": None, "llm": {"options": {"model": "n"}}},
    }
    assert origins(layers) == {
        "turns.min": "agent",  # though it is the default: its author set it
        "turns.max": "default",
        "llm.provider": "environment",
        "llm.options.model": "campaign",
    }
