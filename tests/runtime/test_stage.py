"""The joint between a stage and its worker: each handler takes the events it is marked for."""

import importlib
import inspect
import types
import typing

import pytest

from schemas import events, subjects
from schemas.events import Event, PlaybackStarted, SpeechStarted, TranscriptFinal
from stages.runtime.stage import HandlesAudio, Stage, handlers, handles


def stage_class(name: str) -> type[Stage]:
    found: type[Stage] = importlib.import_module(f"stages.{name}.stage").STAGE
    return found


def accepted(method: typing.Any) -> tuple[type, ...]:
    """The classes that the only argument of a handler is annotated with; those of a union alias as well."""
    [parameter] = list(inspect.signature(method).parameters)[1:]
    hint = typing.get_type_hints(method)[parameter]
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


@pytest.mark.parametrize("name", subjects.STAGES)
def test_each_handler_is_annotated_with_every_event_it_is_marked_for(name: str) -> None:
    stage = stage_class(name)
    for event, method in handlers(stage).items():
        assert issubclass(event, accepted(getattr(stage, method))), (event, method)


@pytest.mark.parametrize("name", subjects.STAGES)
def test_a_stage_lists_events_of_its_own_only(name: str) -> None:
    published = stage_class(name).publishes
    assert published
    assert {events.stage(event) for event in published} == {name}
    assert len(set(published)) == len(published)


def test_a_handler_of_a_superclass_handles_every_event() -> None:
    class Everything:
        publishes: typing.ClassVar[tuple[type[Event], ...]] = ()

        @handles(Event)
        def follow(self, event: Event) -> None: ...

    assert handlers(Everything) == dict.fromkeys(events.EVENTS, "follow")


def test_methods_without_a_mark_are_no_handlers() -> None:
    class Some:
        publishes: typing.ClassVar[tuple[type[Event], ...]] = ()

        @handles(SpeechStarted, TranscriptFinal)
        def follow(self, event: SpeechStarted | TranscriptFinal) -> None: ...

        def play(self, event: PlaybackStarted) -> None: ...

    assert handlers(Some) == {SpeechStarted: "follow", TranscriptFinal: "follow"}


def test_audio_goes_to_stt_egress_and_ingress_and_a_playhead_comes_from_egress() -> None:
    assert [name for name in subjects.STAGES if issubclass(stage_class(name), HandlesAudio)] == [
        "ingress",
        "stt",
        "egress",
    ]
    assert [name for name in subjects.STAGES if hasattr(stage_class(name), "playhead")] == ["egress"]
