"""What an event survives on its way: fields of tomorrow; and what it does not: wrong types, a torn message, noise."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import events, subjects
from tests.schemas import samples

SAMPLES = list(samples.sample_events().values())


@pytest.mark.parametrize("event", SAMPLES, ids=events.tag)
def test_a_fact_comes_back_as_it_was_said(event: events.Event) -> None:
    assert events.decode(events.encode(event)) == event


@pytest.mark.parametrize("event", SAMPLES, ids=events.tag)
def test_a_field_of_a_later_version_is_ignored(event: events.Event) -> None:
    later = {**msgspec.to_builtins(event), "mood": "cheerful", "nested": {"deep": [1, 2]}}
    assert events.decode(msgspec.msgpack.encode(later)) == event


@pytest.mark.parametrize("event", SAMPLES, ids=events.tag)
def test_a_fact_torn_at_any_byte_is_refused(event: events.Event) -> None:
    data = events.encode(event)
    for length in range(len(data)):
        with pytest.raises(events.BadEvent):
            events.decode(data[:length])


@pytest.mark.parametrize("event", SAMPLES, ids=events.tag)
def test_a_field_of_the_wrong_type_is_refused_and_named(event: events.Event) -> None:
    said = msgspec.to_builtins(event)
    for field in ("seq", "epoch", "turn", "time"):
        with pytest.raises(events.BadEvent, match=field):
            events.decode(msgspec.msgpack.encode({**said, field: "seven"}))
    with pytest.raises(events.BadEvent, match="session"):
        events.decode(msgspec.msgpack.encode({**said, "session": 7}))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"event": "stt.hummed", "session": "s1"}, id="unknown event"),
        pytest.param({"session": "s1"}, id="no event"),
        pytest.param({"event": "stt.speech_started", "session": "s1"}, id="missing field"),
        pytest.param({"event": "stt.speech_started", "utterance": 1.5, "at": 0}, id="half an utterance"),
        pytest.param({"event": "stt.speech_started", "utterance": True, "at": 0}, id="truth for a number"),
        pytest.param({"event": "stt.speech_started", "utterance": None, "at": 0}, id="nothing for a number"),
        pytest.param({"event": 7}, id="event is a number"),
        pytest.param([1, 2, 3], id="a list"),
        pytest.param("stt.speech_started", id="a string"),
        pytest.param(None, id="nothing"),
    ],
)
def test_what_is_no_fact_is_refused(said: object) -> None:
    with pytest.raises(events.BadEvent):
        events.decode(msgspec.msgpack.encode(said))


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_a_bottomless_message_is_refused_without_harm(depth: int) -> None:
    with pytest.raises(events.BadEvent):
        events.decode(b"\x91" * depth)


def test_text_that_is_not_utf8_is_refused() -> None:
    good = events.encode(events.SegmentSynthesized(session="abc", segment=0, duration_ms=1))
    with pytest.raises(events.BadEvent):
        events.decode(good.replace(b"abc", b"\xff\xfe\xfd"))


@given(st.binary(max_size=400))
def test_noise_is_refused_and_nothing_worse(noise: bytes) -> None:
    with pytest.raises(events.BadEvent):
        events.decode(noise)


@given(st.sampled_from(SAMPLES), st.data())
def test_a_damaged_fact_is_refused_or_is_a_fact(event: events.Event, data: st.DataObject) -> None:
    damaged = bytearray(events.encode(event))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        understood = events.decode(bytes(damaged))
    except events.BadEvent:
        return
    assert type(understood) in events.EVENTS


def test_no_two_facts_share_a_tag_and_each_is_said_by_a_stage() -> None:
    tags = [events.tag(event) for event in events.EVENTS]
    assert len(set(tags)) == len(tags)
    assert {events.stage(event) for event in events.EVENTS} == set(subjects.STAGES)


def test_every_fact_that_can_be_said_is_understood() -> None:
    """A class that someone forgot to add to AnyEvent would be refused by every receiver."""

    def tagged(event: type[events.Event]) -> set[type[events.Event]]:
        below = set().union(*(tagged(one) for one in event.__subclasses__()))
        return below | ({event} if isinstance(event.__struct_config__.tag, str) and "." in events.tag(event) else set())

    own = {event for event in tagged(events.Event) if event.__module__.startswith(f"{events.__name__}.")}
    assert own == set(events.EVENTS)


def test_the_json_of_a_fact_is_one_line() -> None:
    for event in SAMPLES:
        line = events.to_json(event)
        assert "\n" not in line
        assert msgspec.json.decode(line, type=type(event)) == event
