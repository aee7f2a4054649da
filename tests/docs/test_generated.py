"""What the documentation takes from the code is what the code says now."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from docs import generate, pictures, reasons
from schemas import events
from stages.ingress import owner_machine
from stages.ingress.owner_states import STATES as OWNER_STATES
from stages.ingress.owner_states import Closed
from stages.llm.states import STATES
from stages.llm.turns import TRANSITIONS


@pytest.mark.parametrize("path", generate.files(), ids=lambda path: path.name)
def test_a_page_says_what_the_code_says(path: Path) -> None:
    stale = f"docs/{path.name} is not what the code says any more: run `make docs` and commit what it writes"
    assert path.read_text(encoding="utf-8") == generate.files()[path], stale


@pytest.mark.parametrize("block", generate.BLOCKS)
def test_every_block_has_its_place(block: str) -> None:
    marked = f"<!-- generated: {block} -->\n"
    assert any(f"{marked}{generate.BLOCKS[block]()}" in text for text in generate.files().values())


def test_what_a_person_wrote_around_a_block_stays() -> None:
    page = "before\n<!-- generated: states -->\nold\n<!-- end -->\nafter\n"
    now = generate.filled(page)
    assert now.startswith("before\n<!-- generated: states -->\n| from | to Listening |")
    assert now.endswith("|\n<!-- end -->\nafter\n")
    assert "old" not in now


@pytest.mark.parametrize(
    ("transitions", "from_states"),
    [(TRANSITIONS, set(STATES)), (owner_machine.TRANSITIONS, set(OWNER_STATES) - {Closed})],
    ids=["turns", "owners"],
)
def test_the_table_has_every_way_from_state_to_state(
    transitions: Mapping[tuple[type, type], Any], from_states: set[type]
) -> None:
    lines = generate.states_table(transitions).splitlines()[2:]
    assert sorted(line.split("|")[1].strip() for line in lines) == sorted(state.__name__ for state in from_states)
    listed = sum(cell.strip() != "" for line in lines for cell in line.split("|")[2:])
    assert listed == len({(state, target) for (state, _), row in transitions.items() for target in row.to})


def test_the_picture_of_the_states_shows_only_ways_that_there_are() -> None:
    ways = {
        (
            state.__name__,
            target.__name__,
            events.tag(event).partition(".")[2] if issubclass(event, events.Event) else "",
        )
        for (state, event), row in TRANSITIONS.items()
        for target in row.to
    }
    drawn = [(arrow.start, arrow.end, arrow.label.removeprefix("deadline")) for arrow in pictures.TURNS]
    assert [way for way in drawn if way not in ways] == []


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_is_drawn_within_its_frame_and_loads_nothing(name: str) -> None:
    drawn = ElementTree.fromstring(pictures.PICTURES[name]())
    _, _, width, height = (float(number) for number in drawn.attrib["viewBox"].split())
    boxes = drawn.findall("{*}rect")
    assert len(boxes) >= 6
    assert all(0 <= float(box.attrib["x"]) <= width - float(box.attrib["width"]) for box in boxes)
    assert all(0 <= float(box.attrib["y"]) <= height - float(box.attrib["height"]) for box in boxes)
    assert "href" not in pictures.PICTURES[name]()
    assert "@import" not in pictures.PICTURES[name]()


@pytest.mark.parametrize("event", events.EVENTS, ids=events.tag)
def test_an_event_has_its_publisher_its_fields_and_an_example(event: type[events.Event]) -> None:
    page = (generate.FOLDER / "events.md").read_text(encoding="utf-8")
    [section] = re.findall(rf"^### {re.escape(events.tag(event))}\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    assert f"\nPublished by {events.stage(event)}" in section
    shared = {*events.Event.__struct_fields__, *events.Decision.__struct_fields__}
    assert [name for name in event.__struct_fields__ if name not in shared and f"\n| `{name}` | `" not in section] == []
    [example] = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    said = json.loads(example)
    assert type(events.decode(msgspec.msgpack.encode(said))) is event
    assert [name for name in event.__struct_fields__ if name not in said] == []


def test_every_reason_of_the_contract_is_explained() -> None:
    assert reasons.complete()
