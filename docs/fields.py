"""What a field counts, and what it looks like: for the pages and documents that are written from the types."""

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from schemas import events

SAMPLES = "sample of the caller's line"
SINCE_1970 = "UTC microseconds"

# What a field counts, where its name does not end in `_ms` or `_s`.
UNITS = {
    "start_sample": SAMPLES,
    "until_sample": SAMPLES,
    "at_sample": SAMPLES,
    "replay_from": SAMPLES,
    "started_us": SINCE_1970,
    "time": SINCE_1970,
    "updated": SINCE_1970,
    "clock_offset_us": "us",
    "changed_us": SINCE_1970,
    "retry_us": SINCE_1970,
}

_SESSION = "a5a2394096c07dd7106af6f71d16363f"
_OWNERS = {
    "stt": "9bba160d7c623e2a114f5ae8c43debe1",
    "llm": "56695d762ef93cbbdce39c6e94aa01e2",
    "tts": "db24d723f72c906ef4d891a1c8af0355",
    "egress": "263da82abfeef09be8fd87ddf9e234a2",
}
_DOCUMENT = {"id": "receptionist", "greeting": "Good morning!", "facts": [{"text": "We open at nine."}]}

# A call in which somebody asks when the shop opens. `Class.field` goes before `stage.field`, and that before `field`.
EXAMPLES: dict[str, Any] = {
    "session": _SESSION,
    "agent": "receptionist",
    "time": 1_767_258_008_624_128,
    "seq": 2,
    # ingress
    "ingress.epoch": 1,
    "owners": {stage: {"worker": worker, "epoch": epoch} for epoch, (stage, worker) in enumerate(_OWNERS.items(), 2)},
    "coordinator": "4597e124c3bd2dc70be3a68056f44b4c",
    "transport": "websocket",
    "started_us": 1_767_258_003_000_000,
    "config": _DOCUMENT,
    "stage": "stt",
    "worker": _OWNERS["stt"],
    "owner_epoch": 6,
    "cut": [2, 14],
    "ConfigChanged.version": 4,
    "Configure.version": 4,
    "applies": "next_turn",
    "MetadataRefused.reason": "unknown_agent",
    "MetadataRefused.field": "agent_id",
    "number": 1,
    "digit": "5",
    "origin": {"room": "lobby", "campaign_id": "spring", "lead_id": "7", "phone_number": "+49 30 123456"},
    "SessionClosed.reason": "hangup",
    # stt
    "stt.epoch": 2,
    "utterance": 0,
    "start_sample": 72_000,
    "until_sample": 88_000,
    "at_sample": 92_000,
    "probability": 0.93,
    "source": "audio",
    "silence_ms": 250,
    "text": "When do you open?",
    "TranscriptFinal.words": [{"text": "When", "start_ms": 40, "end_ms": 210}],
    "end_of_turn": True,
    "TranscriptInterim.text": "When do",
    "TranscriptInterim.until_sample": 80_000,
    # llm
    "llm.epoch": 3,
    "llm.turn": 2,
    "cause": {"stage": "stt", "epoch": 2, "seq": 2},
    "now_ms": 5_589_851,
    "answers": 0,
    "typed": 1,
    "segment": 0,
    "SentenceReady.text": "We open at nine.",
    "last": True,
    "first_token_ms": 51,
    "heard": "We open at nine.",
    # tts
    "tts.epoch": 4,
    "tts.turn": 2,
    "duration_ms": 1_120,
    "first_audio_ms": 50,
    "SegmentSynthesized.words": [{"text": "We", "start_ms": 0, "end_ms": 160}],
    # egress: the caller coughs
    "egress.epoch": 5,
    "egress.turn": 2,
    "Paused.utterance": 1,
    "Resumed.utterance": 1,
    "ReplyResumed.utterance": 1,
    "EchoRemoved.utterance": 1,
    "EchoRemoved.characters": 18,
    "heard_ms": 640,
    "PlaybackEnded.heard_ms": 1_120,
    # any stage
    "provider": "local",
    "kind": "timeout",
    "SentenceReady.kind": "reply",
    "message": "no first word within 10 s",
    "StageFailed.reason": "overloaded",
    # the life of a session
    "epoch": 2,
    "SessionOffer.session": _SESSION,
    "SessionOffer.url": "ws://127.0.0.1:8090",
    "RoomAccess.url": "ws://127.0.0.1:7880",
    "token": "eyJhbGciOiJIUzI1NiJ9...",
    "RoomFinished.id": "RM_8sJ2mXwqYq3K",
    "RoomSessionOver.id": "RM_8sJ2mXwqYq3K",
    "RoomSessionOver.people": ["PA_2hVnZqk8fWtd"],
    "body": '{"event": "room_finished", "id": "EV_pYJ3gkT5xN7b", "room": {"name": "lobby"}}',
    "genuine": True,
    "WebhookChecked.event": "room_finished",
    "WebhookChecked.room": "lobby",
    "ClaimStage.providers": ["local"],
    "Close.reason": "hangup",
    "pcm": b"\0\0",
    "Heartbeat.stage": "egress",
    "Heartbeat.worker": _OWNERS["egress"],
    "sessions": [_SESSION],
    "playheads": {_SESSION: {"turn": 2, "segment": 0, "heard_ms": 640}},
    "WorkerStatus.id": _OWNERS["stt"],
    "WorkerStatus.sessions": [{"session": _SESSION, "agent": "receptionist", "epoch": 2, "age_s": 4.2}],
    "pid": 4242,
    "host": "voice-1",
    "capacity": 100,
    "state": "ready",
    # the health of providers
    "key": {"stage": "llm", "provider": "openai"},
    "BreakerState.state": "open",
    "BreakerState.worker": _OWNERS["llm"],
    "changed_us": 1_767_258_008_624_128,
    "retry_us": 1_767_258_009_624_128,
    # agents
    "document": _DOCUMENT,
    "documents": [_DOCUMENT],
    "revision": 3,
    "revisions": {"receptionist": 3},
    "agents": [{"id": "receptionist", "revision": 3, "updated": 1_767_250_000_000_000, "facts": 1}],
    "fields": [{"path": "greeting", "value": "Good morning!", "origin": "agent"}],
    "versions": [{"version": 3, "author": "ann", "saved": 1_767_250_000_000_000, "published": True}],
    "campaigns": [
        {"agent": "receptionist", "campaign": "summer", "revision": 1, "latest": 2, "updated": 1_767_250_000}
    ],
    "SetAgents.campaigns": [{"agent": "receptionist", "campaign": "summer", "overrides": {"greeting": "Hot today!"}}],
    "numbers": [{"number": "+15551234567", "agent": "receptionist", "campaign": "summer"}],
}

_UNKNOWN = object()
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def unit(field: str) -> str:
    """What a field counts, "" where it counts nothing or its docstring says more than a word."""
    if field in UNITS:
        return UNITS[field]
    return next((unit for unit in ("ms", "s") if field.endswith(f"_{unit}")), "")


def example(struct: type[_Struct]) -> _Struct:
    """A value as it might be said; raises LookupError for a field that has neither an example nor a default."""
    return msgspec.convert(dict(_values(struct)), struct)


def _values(struct: type[msgspec.Struct]) -> Iterator[tuple[str, Any]]:
    speakers = [parent.__name__ for parent in struct.__mro__]
    if issubclass(struct, events.Event):
        yield "event", events.tag(struct)
        speakers.append(events.stage(struct))
    for field in msgspec.structs.fields(struct):
        keys = [*(f"{speaker}.{field.name}" for speaker in speakers), field.name]
        value = next((EXAMPLES[key] for key in keys if key in EXAMPLES), _UNKNOWN)
        if value is not _UNKNOWN:
            yield field.name, value
        elif field.required:
            raise LookupError(f"`{field.name}` of {struct.__name__} has no example: write one into docs/fields.py")
