"""`antiphon agent` against a real config service."""

import getpass
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from antiphon_testing.command import Finished, antiphon
from bus import server
from bus.connect import Bus, connect
from bus.settings import BusSettings
from cli.agent import load
from composition.platform import store_new
from config_service.client import ConfigClient
from config_service.service import open_service


class Platform:
    """Runs `antiphon agent ...` where a config service is."""

    def __init__(self, nats: str, bus: Bus, folder: Path) -> None:
        self.bus = bus
        self.nats = nats
        self.folder = folder
        self.kept = folder / "kept"
        self.kept.mkdir()

    async def agent(self, *arguments: object, stdin: str = "") -> Finished:
        return await antiphon("agent", *arguments, stdin=stdin, ANTIPHON_NATS_URL=self.nats)

    async def run(self, *arguments: object, stdin: str = "") -> Finished:
        return await antiphon(*arguments, stdin=stdin, ANTIPHON_NATS_URL=self.nats)

    async def edit(self, agent: str, script: str) -> Finished:
        """Run `agent edit` with an editor that runs `script` on the file, which is `$1`."""
        editor = self.folder / "editor"
        editor.write_text(f"#!/bin/sh\n{script}\n")
        editor.chmod(0o755)
        where = {"ANTIPHON_NATS_URL": self.nats, "TMPDIR": str(self.kept)}
        return await antiphon("agent", "edit", agent, VISUAL=str(editor), **where)

    def texts(self) -> list[Path]:
        """Edited texts that were kept."""
        return list(self.kept.iterdir())

    async def ids(self) -> list[str]:
        return [line.id for line in await ConfigClient(self.bus).list()]


@pytest.fixture
async def platform(nats: str, bus: Bus, tmp_path: Path) -> AsyncIterator[Platform]:
    async with open_service(bus, f"sqlite:///{tmp_path / 'antiphon.db'}"):
        yield Platform(nats, bus, tmp_path)


def refused(told: Finished, code: int, *parts: str) -> None:
    """It failed with one line on stderr that says all of `parts`."""
    assert told.code == code
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    for part in parts:
        assert part in told.err


async def test_an_agent_is_set_shown_edited_and_listed(platform: Platform, tmp_path: Path) -> None:
    told = await platform.agent("set", "-", stdin="{id: desk, greeting: Grüezi!, facts: [We open at nine.]}")
    assert told == (0, "desk: revision 1\n", "")
    shown = await platform.agent("show", "desk")
    document = {"id": "desk", "greeting": "Grüezi!", "facts": [{"text": "We open at nine."}]}
    assert yaml.safe_load(shown.out) == document  # what is a default is left out
    file = tmp_path / "desk.yaml"
    file.write_text(shown.out.replace("Grüezi", "Hello"))
    assert json.loads((await platform.agent("set", file, "--json")).out) == {"set": {"desk": 2}}
    stored = json.loads((await platform.agent("show", "desk", "--json")).out)
    assert (stored["document"]["greeting"], stored["revision"]) == ("Hello!", 2)
    listed = json.loads((await platform.agent("list", "--json")).out)["agents"]
    assert [(line["id"], line["revision"]) for line in listed] == [("default", 0), ("desk", 2)]
    await platform.agent("set", "-", stdin="id: shop\nname: Corner [shop]")
    table = (await platform.agent("list")).out
    assert "desk" in table
    assert "Corner [shop]" in table
    assert "built in" in table


async def test_the_later_of_two_writers_is_refused(platform: Platform) -> None:
    for revision in (0, 1):
        text = f"{{id: desk, greeting: Hello {revision}}}"
        told = await platform.agent("set", "-", "--if-revision", revision, stdin=text)
        assert told == (0, f"desk: revision {revision + 1}\n", "")
    late = await platform.agent("set", "-", "--if-revision", 1, stdin="{id: desk, greeting: Late}")
    refused(late, 1, "agent desk is at revision 2, not 1", "antiphon agent show")
    many = await platform.agent("set", "-", "--if-revision", 2, stdin="id: desk\n---\nid: shop\n")
    refused(many, 2, "--if-revision is for one agent")
    assert (await ConfigClient(platform.bus).get("desk")).document.greeting == "Hello 1"


async def test_an_agent_is_edited_in_place(platform: Platform) -> None:
    await platform.agent("set", "-", stdin="{id: desk, greeting: Hello}")
    assert await platform.edit("desk", "sed -i s/Hello/Grüezi/ $1") == (0, "desk: revision 2\n", "")
    assert (await ConfigClient(platform.bus).get("desk")).document.greeting == "Grüezi"
    assert await platform.edit("desk", "true") == (0, "desk: unchanged\n", "")
    assert platform.texts() == []


@pytest.mark.parametrize(
    ("script", "parts", "kept"),
    [
        (
            "sed -i s/greeting/greting/ $1",
            ["line 2: greting: Extra inputs", "Did you mean greeting?"],
            "greting: Hello",
        ),
        ("sed -i s/desk/shop/ $1", ["not desk alone"], "id: shop"),
        ("sed -i s/Hello/Mine/ $1; $ANTIPHON", ["agent desk is at revision 2, not 1"], "greeting: Mine"),
        ("sed -i s/Hello/Mine/ $1; exit 3", ["cannot edit with", "it ended with 3"], "greeting: Mine"),
    ],
    ids=["wrong", "another id", "stale", "the editor failed"],
)
async def test_a_text_that_cannot_be_stored_is_kept_in_a_file(
    platform: Platform, script: str, parts: list[str], kept: str
) -> None:
    await platform.agent("set", "-", stdin="{id: desk, greeting: Hello}")
    other = f"echo '{{id: desk, greeting: Theirs}}' | {sys.executable} -m cli.main agent set -"
    told = await platform.edit("desk", script.replace("$ANTIPHON", other))
    assert told.code == 1
    for part in parts:
        assert part in told.err
    (file,) = platform.texts()
    assert str(file) in told.err
    assert kept in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert (await ConfigClient(platform.bus).get("desk")).document.greeting in ("Hello", "Theirs")


async def test_a_model_that_ends_is_warned_of(platform: Platform) -> None:
    document = "{id: ending, llm: groq/llama-3.1-8b-instant}"  # ended in 2026: no clock makes this warning go away
    told = await antiphon("agent", "set", "-", "--nats", platform.nats, stdin=document)
    assert (told.code, told.out.strip()) == (0, "ending: revision 1")
    assert "warning: agent ending: llm groq/llama-3.1-8b-instant ended on 2026-08-16" in told.err
    found = await antiphon("doctor", "--json", "--nats", platform.nats)
    assert "llm groq/llama-3.1-8b-instant ended on 2026-08-16: use openai/gpt-oss-20b" in found.out


async def test_an_editor_or_an_agent_that_is_not_there_is_named(platform: Platform) -> None:
    refused(await platform.edit("nobody", "true"), 1, "no agent 'nobody'")
    where = {"ANTIPHON_NATS_URL": platform.nats, "TMPDIR": str(platform.kept)}
    missing = await antiphon("agent", "edit", "default", VISUAL="", EDITOR="no-such-editor -w", **where)
    refused(missing, 1, "cannot edit with no-such-editor: No such file", "Set VISUAL or EDITOR")
    assert platform.texts() == []


async def test_a_folder_is_imported_whole(platform: Platform, tmp_path: Path) -> None:
    folder = tmp_path / "agents"
    folder.mkdir()
    (folder / "two.yaml").write_text("id: a\n---\nid: b\n")
    (folder / "one.json").write_text('{"id": "c"}')
    (folder / "README.md").write_text("not an agent")
    told = await platform.agent("import", folder)
    assert told.code == 0
    assert sorted(told.out.splitlines()) == ["a: revision 1", "b: revision 1", "c: revision 1"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("id: b\nfacts: [", ["bad.yaml, line 2"]),
        (
            "id: b\nturns: {min_delay_ms: soon}",
            ["bad.yaml, line 2: turns.min_delay_ms: Input should be a valid integer"],
        ),
        ("id: b\nmood: grim", ["bad.yaml, line 2: mood: Extra inputs are not permitted"]),
        ("id: a.b", ["bad.yaml, line 1: id: agent id 'a.b' is not allowed"]),
        ("id: 'a*'", ["bad.yaml, line 1: id: agent id 'a*' is not allowed"]),
        ("id: '>'", ["bad.yaml, line 1: id: agent id '>' is not allowed"]),
        ('id: "a\\nb"', ["bad.yaml, line 1: id: agent id 'a\\nb' is not allowed"]),
        ("prompt: no id", ["bad.yaml, line 1: id: Field required"]),
        ("id: good", ["bad.yaml: agent good is in", "good.yaml already"]),
        ("", ["bad.yaml: empty"]),
        ("- a list", ["bad.yaml: an agent is a mapping"]),
        ("id: b\nprompt: &p hello\ngreeting: *p", ["bad.yaml, line 2: anchors"]),
        ("id: b\nprompt: hello\ngreeting: *p", ["bad.yaml, line 3: anchors (&name) and aliases"]),
        ("id: b\nllm: {options: {hot: .inf}}", ["bad.yaml: b: not JSON"]),
    ],
)
async def test_one_bad_file_names_itself_and_nothing_is_stored(
    platform: Platform, tmp_path: Path, text: str, parts: list[str]
) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("id: good")
    bad.write_text(text)
    refused(await platform.agent("import", good, bad), 1, *parts)
    assert await platform.ids() == ["default"]


async def test_what_is_not_there_is_said(platform: Platform, tmp_path: Path) -> None:
    refused(await platform.agent("show", "nobody"), 1, "no agent 'nobody'", "antiphon agent list")
    refused(await platform.agent("show", "a.b"), 2, "agent id 'a.b' is not allowed")
    refused(await platform.agent("set", tmp_path / "none.yaml"), 1, "none.yaml: No such file")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(await platform.agent("import", empty), 1, "no .yaml, .yml, .json file in this folder")


async def test_versions_are_drafted_compared_published_and_rolled_back(platform: Platform) -> None:
    await platform.agent("set", "-", stdin="{id: desk, greeting: One, facts: [Open.]}")
    await platform.agent("set", "-", stdin="{id: desk, greeting: Two}")
    drafted = await platform.agent("set", "-", "--draft", stdin="{id: desk, greeting: Three, turns: {min_delay_ms: 9}}")
    assert drafted == (0, "desk: revision 3 (draft)\n", "")
    client = ConfigClient(platform.bus)
    assert (await client.get("desk")).document.greeting == "Two"
    changed = 'greeting: "Two" -> "Three"\nturns.min_delay_ms: (none) -> 9\n'
    assert await platform.agent("diff", "desk") == (0, changed, "")
    told = json.loads((await platform.agent("diff", "desk", 1, 2, "--json")).out)["changes"]
    assert told == [
        {"path": "facts", "before": [{"text": "Open."}]},
        {"path": "greeting", "before": "One", "after": "Two"},
    ]
    assert await platform.agent("publish", "desk") == (0, "desk: revision 3 is published\n", "")
    assert (await client.get("desk")).document.greeting == "Three"
    assert await platform.agent("rollback", "desk") == (0, "desk: revision 2 is published\n", "")
    assert (await client.get("desk")).document.greeting == "Two"
    refused(
        await platform.agent("publish", "desk", "--version", 3, "--if-revision", 3), 1, "desk is at revision 2, not 3"
    )
    refused(await platform.agent("rollback", "desk", "--to", 7), 2, "it has no version 7")
    await platform.agent("rollback", "desk", "--to", 1)
    refused(await platform.agent("rollback", "desk"), 1, "no version is older")
    lines = json.loads((await platform.agent("versions", "desk", "--json")).out)["versions"]
    assert [(line["version"], line["published"]) for line in lines] == [(3, False), (2, False), (1, True)]
    assert all(line["author"] == getpass.getuser() for line in lines)
    assert "published" in (await platform.agent("versions", "desk")).out
    assert yaml.safe_load((await platform.agent("show", "desk", "--version", 3)).out)["greeting"] == "Three"


async def test_campaigns_and_numbers_are_set_and_shown(platform: Platform) -> None:
    await platform.agent("set", "-", stdin="id: desk")
    summer = "{agent: desk, campaign: summer, overrides: {greeting: Hot!}}"
    assert await platform.run("campaign", "set", "-", stdin=summer) == (0, "desk:summer: revision 1\n", "")
    shown = yaml.safe_load((await platform.run("campaign", "show", "desk:summer")).out)
    assert shown == {"agent": "desk", "campaign": "summer", "overrides": {"greeting": "Hot!"}}
    stale = await platform.run("campaign", "set", "-", "--if-revision", 4, stdin=summer)
    refused(stale, 1, "campaign summer of agent desk is at revision 1, not 4")
    wrong = await platform.run("campaign", "set", "-", stdin=summer.replace("greeting", "greting"))
    refused(wrong, 1, "campaign summer of desk: greting", "Did you mean greeting?")
    refused(await platform.run("campaign", "set", "-", stdin="id: desk"), 2, "not one campaign")
    listed = json.loads((await platform.run("campaign", "list", "desk", "--json")).out)["campaigns"]
    assert [(line["agent"], line["campaign"], line["revision"]) for line in listed] == [("desk", "summer", 1)]
    assert "desk:summer" in (await platform.run("campaign", "list")).out
    refused(await platform.run("campaign", "show", "desk:winter"), 1, "no campaign 'winter'", "antiphon campaign list")
    refused(await platform.run("campaign", "show", "desk:"), 2, "campaign id '' is not allowed")
    explained = await platform.agent("explain", "desk", "--campaign", "summer")
    assert 'campaign    greeting: "Hot!"' in explained.out.splitlines()
    assert "default     turns.min_delay_ms: 300" in explained.out.splitlines()
    fields = json.loads((await platform.agent("explain", "desk", "--json")).out)["fields"]
    assert {"path": "id", "value": "desk", "origin": "agent"} in fields
    refused(await platform.agent("explain", "desk", "--campaign", "winter"), 1, "no campaign 'winter'")
    answered = await platform.run("number", "set", "+15551234567", "desk:summer")
    assert answered == (0, "+15551234567: desk:summer answers\n", "")
    assert (await platform.run("number", "list")).out == "+15551234567 desk:summer\n"
    assert len(json.loads((await platform.run("number", "list", "--json")).out)["numbers"]) == 1
    refused(await platform.run("number", "set", "+15551234567", "desk:winter"), 1, "there is no campaign winter")
    refused(await platform.run("number", "set", "0123", "desk"), 1, "'0123' is no phone number")
    assert (await platform.run("number", "remove", "+15551234567")).code == 0
    assert (await platform.run("number", "list")).out == ""


async def test_an_export_is_imported_into_an_empty_database_whole(
    platform: Platform, nats: str, tmp_path: Path
) -> None:
    everything = """
id: desk
greeting: Grüezi!
facts: [{text: Open., asks: [hours]}]
llm: {provider: local, options: {answers: matched}}
---
id: shop
---
{agent: desk, campaign: summer, overrides: {greeting: null, turns: {min_delay_ms: 5}}}
---
{number: "+15551234567", agent: desk, campaign: summer}
"""
    file = tmp_path / "all.yaml"
    file.write_text(everything)
    told = await platform.agent("import", file)
    assert sorted(told.out.splitlines()) == ["desk: revision 1", "desk:summer: revision 1", "shop: revision 1"]
    text = (await platform.agent("export")).out
    assert [*yaml.safe_load_all(text)] == [*yaml.safe_load_all(everything.replace("[Open.]", "[{text: Open.}]"))]
    assert [*yaml.safe_load_all((await platform.agent("export", "shop")).out)] == [{"id": "shop"}]
    file.write_text(text)
    (tmp_path / "bus").mkdir()
    async with (
        server.serve(tmp_path / "bus") as url,
        connect(BusSettings(url=url)) as bus,
        open_service(bus, f"sqlite:///{tmp_path / 'other.db'}"),
    ):
        assert (await antiphon("agent", "import", file, ANTIPHON_NATS_URL=url)).code == 0
        assert (await antiphon("agent", "export", ANTIPHON_NATS_URL=url)).out == text


async def test_without_a_service_it_says_how_to_start_one(nats: str) -> None:
    refused(await antiphon("agent", "list", "--nats", nats), 1, "no config service answers", "antiphon up")


async def test_the_first_start_imports_what_is_new_and_leaves_what_was_edited(
    platform: Platform, tmp_path: Path
) -> None:
    file = tmp_path / "both.yaml"
    file.write_text("id: edited\ngreeting: Ours.\n---\nid: fresh\n")
    await platform.agent("set", "-", stdin="{id: edited, greeting: Mine.}")
    assert await store_new(platform.bus, load([file])) == ["fresh"]
    assert await store_new(platform.bus, load([file])) == []
    assert (await ConfigClient(platform.bus).get("edited")).document.greeting == "Mine."
