"""What the documentation takes from the code is what the code says now."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from docs import generate
from schemas import events


@pytest.mark.parametrize("path", generate.files(), ids=lambda path: path.name)
def test_a_page_says_what_the_code_says(path: Path) -> None:
    stale = f"docs/{path.name} is not what the code says any more: run `make docs` and commit what it writes"
    assert path.read_text(encoding="utf-8") == generate.files()[path], stale


@pytest.mark.parametrize("block", generate.BLOCKS)
def test_every_block_has_its_place(block: str) -> None:
    marker = f"<!-- generated: {block} -->"
    assert any(text.count(marker) == 1 for text in generate.files().values())


def test_what_a_person_wrote_around_a_block_stays() -> None:
    page = "before\n<!-- generated: states -->\nold\n<!-- end -->\nafter\n"
    now = generate.filled(page)
    assert now.startswith("before\n<!-- generated: states -->\n```mermaid\nstateDiagram-v2\n")
    assert now.endswith("```\n<!-- end -->\nafter\n")
    assert "old" not in now


@pytest.mark.parametrize("fact", events.FACTS, ids=events.tag)
def test_a_fact_is_told_with_its_speaker_its_fields_and_an_example(fact: type[events.Fact]) -> None:
    page = (generate.FOLDER / "events.md").read_text(encoding="utf-8")
    [section] = re.findall(rf"^### {re.escape(events.tag(fact))}\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    assert f"\nSaid by {events.stage(fact)}" in section
    shared = {*events.Fact.__struct_fields__, *events.Decision.__struct_fields__}
    assert [name for name in fact.__struct_fields__ if name not in shared and f"\n| `{name}` | `" not in section] == []
    [example] = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    said = json.loads(example)
    assert type(events.decode(msgspec.msgpack.encode(said))) is fact
    assert [name for name in fact.__struct_fields__ if name not in said] == []
