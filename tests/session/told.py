"""A session told event by event, each stage's seq kept."""

from typing import Any

import msgspec

from schemas import events
from schemas.events import Event, Owner
from session.state import SessionState, fold

STAGES = ("stt", "llm", "tts", "egress")


def numbered(stage_facts: list[Event], epoch: int = 1) -> list[Event]:
    """The events as one speaker says them: stamped, seq dense from 0."""
    return [
        msgspec.structs.replace(event, session="s1", agent="desk", epoch=epoch, seq=seq, time=event.time or 1_000 + seq)
        for seq, event in enumerate(stage_facts)
    ]


def opened(**fields: Any) -> events.SessionOpened:
    owners = {stage: Owner(f"{stage}-a", 1) for stage in STAGES}
    config = fields.pop("config", {"id": "desk"})
    return events.SessionOpened(
        owners=owners, coordinator="in1", transport="websocket", started_us=5_000, config=config, **fields
    )


class Told:
    """The state of a session after the events that it was told."""

    def __init__(self, **fields: Any) -> None:
        self.state = SessionState()
        self._seq: dict[tuple[str, int], int] = {}
        self(opened(**fields))

    def __call__(self, *call_events: Event, epoch: int = 1) -> SessionState:
        for event in call_events:
            speaker = (events.stage(event), epoch)
            seq = self._seq.get(speaker, 0)
            self._seq[speaker] = seq + 1
            stamped = msgspec.structs.replace(event, session="s1", agent="desk", epoch=epoch, seq=seq)
            self.state = fold(self.state, stamped)
        return self.state
