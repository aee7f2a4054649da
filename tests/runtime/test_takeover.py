"""A stage that starts in the middle of a session, and one that has handled what its successor's peers do not know."""

import asyncio
from collections.abc import Callable
from typing import ClassVar

import pytest

from antiphon_testing.stage import EPOCH, Outbox, TestContext
from bus.message import Message
from schemas import events, subjects
from schemas.events import Event, Owner, OwnerChanged, TextReceived, TurnEnded
from stages.runtime.inbox import BeyondCut, Inbox
from stages.runtime.stage import handles


class Listener:
    """A stage that keeps what it handles."""

    publishes: ClassVar[tuple[type[Event], ...]] = (TurnEnded,)

    def __init__(self) -> None:
        self.order: list[object] = []

    def take_over(self) -> None:
        self.order.append("take over")

    @handles(TextReceived)
    def keep(self, event: TextReceived) -> None:
        self.order.append(event.number)


def inbox() -> Inbox:
    return Inbox(TestContext("llm", "s1", "agent1", EPOCH, Outbox(), Listener.publishes))


def give(box: Inbox, event: Event, seq: int, epoch: int = 1) -> None:
    stamped = {"session": "s1", "agent": "agent1", "epoch": epoch, "seq": seq}
    event = type(event)(**{name: getattr(event, name) for name in event.__struct_fields__} | stamped)
    box.receive_event(Message(subjects.event("agent1", "s1", events.tag(event)), events.encode(event)))


async def run(box: Inbox, then: Callable[[], None] = lambda: None) -> list[object]:
    stage = Listener()
    life = asyncio.create_task(box.run(stage))
    await asyncio.sleep(0)
    then()
    box.close()
    await life
    return stage.order


async def test_events_that_came_before_the_snapshot_are_handled_once_and_after_the_takeover() -> None:
    box = inbox()
    for number in (1, 2, 3):
        give(box, TextReceived(text="hello", number=number), seq=number)
    box.start_from({"ingress": (1, 2)}, {})
    assert await run(box) == ["take over", 3]


async def test_an_owner_in_the_snapshot_is_known_and_an_older_one_is_dropped() -> None:
    box = inbox()
    box.start_from({}, {"tts": Owner("w2", 7), "egress": Owner("w3", 8)})
    assert box.context.owners == {"tts": Owner("w2", 7), "egress": Owner("w3", 8)}
    give(box, events.SegmentSynthesized(segment=0, duration_ms=9), seq=0, epoch=6)
    assert box.context.counters == {"dead_epoch": 1}


async def test_a_stage_that_handled_an_event_beyond_the_cut_starts_anew() -> None:
    def replace_stt(cut: tuple[int, int]) -> Callable[[], None]:
        def act() -> None:
            give(box, events.SpeechStarted(utterance=0, start_sample=0), seq=5, epoch=2)
            give(box, OwnerChanged(stage="stt", worker="w2", owner_epoch=9, cut=cut), seq=9)

        return act

    box = inbox()
    await run(box, replace_stt((2, 5)))
    box = inbox()
    with pytest.raises(BeyondCut):
        await run(box, replace_stt((2, 4)))


async def test_an_owner_that_was_replaced_publishes_nothing() -> None:
    outbox = Outbox()
    context = TestContext("llm", "s1", "agent1", EPOCH, outbox, Listener.publishes)
    context.publish(TurnEnded(turn=1, heard="one"))
    context.silence()
    context.publish(TurnEnded(turn=2, heard="two"))
    context.send("w", b"", 24_000)
    assert [event.turn for event in outbox.events] == [1]
    assert outbox.sent == []
