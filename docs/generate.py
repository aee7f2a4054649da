"""Writes what the documentation takes from the code, so that it cannot go stale unnoticed: `make docs`.

docs/events.md, docs/asyncapi.json and the pictures are written whole, in other pages the text between
`<!-- generated: NAME -->` and `<!-- end -->`.
"""

import importlib
import inspect
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench import room_targets, targets
from bench.pipeline import FIGURES
from docs import asyncapi, fields, pictures, reasons
from schemas import events, subjects
from schemas.events import Cause, Decision, Event, Owner, Word
from stages.ingress import owner_machine
from stages.llm import turns
from stages.runtime.stage import Stage, handlers
from stages.runtime.worker import AUDIO_FROM

FOLDER = Path(__file__).parent

ENVELOPE = Event.__struct_fields__
LINE = 110  # characters of an example that stand beside each other

_BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def stage(name: str) -> type[Stage]:
    """Return the class of a stage, which shows what it publishes and handles."""
    found: type[Stage] = importlib.import_module(f"stages.{name}.stage").STAGE
    return found


# --- who handles what -------------------------------------------------------------------------------------------------


def publishers_table() -> str:
    """Return a row for each stage that publishes, a column for each that handles; ingress handles every event."""
    columns = [name for name in subjects.CLAIMED if _handled_by(name) or name in AUDIO_FROM]
    rows = [
        f"| published by | {' | '.join(f'{name} handles' for name in columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for publisher in subjects.STAGES:
        cells = []
        for receiver in columns:
            names = ["**audio**"] if AUDIO_FROM.get(receiver) == publisher else []
            names += [_short(event) for event in _handled_by(receiver) if events.stage(event) == publisher]
            cells.append("<br/>".join(names))
        rows.append(f"| {publisher} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def stages_table() -> str:
    """Return a row for each stage: its class, its handlers and its events."""
    rows = ["| stage | class | handles | publishes |", "|---|---|---|---|"]
    for name in subjects.STAGES:
        found = stage(name)
        methods: dict[str, list[str]] = {}
        for event in _handled_by(name):
            methods.setdefault(handlers(found)[event], []).append(events.tag(event))
        handled = [f"{', '.join(tags)} → `{method}`" for method, tags in methods.items()]
        if name == subjects.INGRESS:
            handled = [f"every event of the others → `{next(iter(methods))}`"]
        published = ", ".join(_short(event) for event in events.EVENTS if events.stage(event) == name)
        rows.append(
            f"| {name} | `{found.__name__}` | {'<br/>'.join(handled) or 'no event: only audio'} | {published} |"
        )
    return "\n".join(rows) + "\n"


def states_table(transitions: Mapping[tuple[type, type], turns.Row | owner_machine.Row]) -> str:
    """Return which event leads from which state to which; an event that leaves the state as it is has no entry."""
    ways: dict[tuple[str, str], list[str]] = {}
    for (state, event), row in transitions.items():
        name = _short(event) if issubclass(event, Event) else re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower()
        for target in row.to:
            ways.setdefault((state.__name__, target.__name__), []).append(name)
    states = list(dict.fromkeys(here for here, _ in ways))
    places = list(dict.fromkeys((*states, *(there for _, there in ways))))
    targets = [there for there in places if any(target == there for _, target in ways)]
    rows = [f"| from | {' | '.join(f'to {target}' for target in targets)} |", "|---" * (len(targets) + 1) + "|"]
    for here in states:
        cells = ["<br/>".join(ways.get((here, there), [])) for there in targets]
        rows.append(f"| {here} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _handled_by(name: str) -> list[type[Event]]:
    heard = handlers(stage(name))
    return [event for event in events.EVENTS if event in heard]


def _short(event: type[Event]) -> str:
    return events.tag(event).partition(".")[2]


# --- events.md --------------------------------------------------------------------------------------------------------

HEAD = """\
# Every event

<!-- Written by docs/generate.py from schemas/events/: change that, then `make docs`. -->

One stage publishes each event, in the past tense, on the subject `va1.event.<agent>.<session>.<event>`. An ephemeral
goes to `va1.ephemeral.…`; it is never journaled and may be lost. An event is a msgpack map. A reader ignores fields
that it does not know. A field without a default is always there.

For code in any language: [asyncapi.json](asyncapi.json) describes all subjects and messages (AsyncAPI 3), and
[schemas/json](../schemas/json) holds a JSON Schema for each event. `antiphon tail --json` prints events as they are
published, and [transcripts.js](../examples/transcripts.js) reads them without any Python.

Beside its own fields every event carries the envelope:
"""

STAGES = {
    subjects.INGRESS: "the life of the call",
    subjects.STT: "what the caller says",
    subjects.LLM: "the conversation",
    subjects.TTS: "the voice",
    subjects.EGRESS: "what the caller hears",
}


def events_page() -> str:
    """The whole of docs/events.md."""
    parts = [HEAD, *_fields(Event, ()), f"`event` is the name of the event. {_told(Event, 1)}", ""]
    for name, about in STAGES.items():
        parts += [f"## {name}: {about}", ""]
        if name == subjects.LLM:
            parts += [_told(Decision), "", *_fields(Decision, Event.__struct_fields__)]
        for event in events.EVENTS:
            if events.stage(event) == name:
                parts += _section(event)
    parts += ["## What fields are made of", ""]
    for struct in (Cause, Owner, Word):
        parts += [f"### {struct.__name__}", "", _told(struct), "", *_fields(struct, ())]
    return "\n".join(parts).rstrip() + "\n"


def _section(event: type[Event]) -> list[str]:
    lines = [f"### {events.tag(event)}", "", _told(event), ""]
    parent = event.__mro__[1]
    if parent not in (Event, Decision):  # the fields are explained where they are declared
        lines += [_told(parent), ""]
    lines += [f"Published by {events.stage(event)}{_plane(event)}. {_handled(event)}", ""]
    lines += _fields(event, (*Event.__struct_fields__, *Decision.__struct_fields__))
    return [*lines, "```json", _example(event), "```", ""]


def _plane(event: type[Event]) -> str:
    return ", ephemeral" if event in events.EPHEMERAL else ""


def _example(event: type[Event]) -> str:
    """One such event as JSON: first its own fields, then the envelope on a line of its own."""
    said = msgspec.to_builtins(fields.example(event))
    own = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in said.items() if name not in ENVELOPE]
    envelope = [f"{json.dumps(name)}: {json.dumps(said[name])}" for name in ENVELOPE]
    lines = [""]
    for item in own:
        if lines[-1] and len(lines[-1]) + len(item) > LINE:
            lines.append("")
        lines[-1] += f"{item}, "
    return "{" + "\n ".join([*(line.rstrip() for line in lines), ", ".join(envelope)]) + "}"


def _handled(event: type[Event]) -> str:
    heard = [name for name in subjects.CLAIMED if event in handlers(stage(name))]
    if event in (events.SessionOpened, events.OwnerChanged):
        return f"Every session takes owners and minimum epochs from it. Handled by {', '.join(heard)}."
    if events.stage(event) != subjects.INGRESS and event not in events.EPHEMERAL:
        heard.append(subjects.INGRESS)
    return f"Handled by {', '.join(heard)}." if heard else "Handled by no stage: programs that follow calls use it."


def _told(struct: type[msgspec.Struct], first: int = 0) -> str:
    """The docstring from its line `first` on, the names of fields set as code."""
    text = inspect.cleandoc("\n".join((inspect.getdoc(struct) or "").split("\n")[first:])).replace("<", "&lt;")
    field = rf"(?:{'|'.join(sorted(struct.__struct_fields__, key=len, reverse=True))})"

    def as_code(found: re.Match[str]) -> str:
        return re.sub(field, lambda name: f"`{name[0]}`", found[0])

    text = re.sub(rf"(?m)(?:^|(?<=[.] )){field}(?:, {field})*(?=:)", as_code, text)
    return re.sub(r"`[^`]+`", lambda code: code[0].replace("&lt;", "<"), text)


def _fields(struct: type[msgspec.Struct], without: tuple[str, ...]) -> list[str]:
    own = [field for field in msgspec.structs.fields(struct) if field.name not in without]
    if not own:
        return []
    rows = [
        f"| `{field.name}` | {_type(field.type)} | {fields.unit(field.name)} | {_default(field)} |" for field in own
    ]
    return ["| field | type | unit | default |", "|---|---|---|---|", *rows, ""]


def _type(annotation: Any) -> str:
    name = annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else annotation
    return "`" + str(name).replace("schemas.events.", "").replace("typing.", "").replace("|", "or") + "`"


def _default(field: Any) -> str:
    if field.default is not msgspec.NODEFAULT:
        return f"`{field.default!r}`"
    return "" if field.default_factory is msgspec.NODEFAULT else f"`{field.default_factory()!r}`"


# --- files ------------------------------------------------------------------------------------------------------------

BLOCKS: dict[str, Callable[[], str]] = {
    "stages": lambda: f"{publishers_table()}\n{stages_table()}",
    "states": lambda: states_table(turns.TRANSITIONS),
    "owners": lambda: states_table(owner_machine.TRANSITIONS),
    "targets": lambda: targets.table(FIGURES),
    "rooms": lambda: targets.table(FIGURES, room_targets.TARGETS),
    "peer": lambda: targets.table(FIGURES, room_targets.BESIDE_PEER, "bounds"),
    "both": lambda: room_targets.both(FIGURES),
    "runs": lambda: targets.runs(FIGURES),
    "closed": lambda: reasons.table(reasons.CLOSED),
    "refused": lambda: reasons.table(reasons.REFUSED),
    "metadata": lambda: reasons.table(reasons.METADATA),
    "provider_errors": lambda: reasons.table(reasons.PROVIDER),
}


FILLED = ("ARCHITECTURE.md", "turns.md", "owners.md", "performance.md", "operations.md")


def filled(page: str) -> str:
    """`page` with every marked block as the code has it now."""
    return _BLOCK.sub(lambda block: block[1] + BLOCKS[block[2]]() + block[3], page)


def files() -> dict[Path, str]:
    """Every file that the code has a part in, as it should be."""
    pages = {FOLDER / name: filled((FOLDER / name).read_text(encoding="utf-8")) for name in FILLED}
    drawn = {FOLDER / "images" / name: draw() for name, draw in pictures.PICTURES.items()}
    return {FOLDER / "events.md": events_page(), FOLDER / "asyncapi.json": asyncapi.text(), **drawn, **pages}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
