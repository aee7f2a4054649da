"""Events: what the stages publish about a session, each in the past tense, each published by one stage only.

On the wire an event is a msgpack map, so that any language reads it. The tag (`event`) is the tail of its subject:
`va1.event.<agent>.<session>.<stage>.<event>`. A reader ignores fields that it does not know; a field that a later
version adds has a default.
"""

import msgspec

from schemas.events.egress import EgressStageFailed, Paused, PlaybackEnded, PlaybackStarted, Resumed
from schemas.events.envelope import (
    Cause,
    Event,
    Owner,
    ProviderErrorKind,
    ProviderFailed,
    StageFailed,
    Word,
    stage,
    tag,
)
from schemas.events.ingress import (
    FAILED,
    LOST,
    Applies,
    CloseReason,
    ConfigChanged,
    DtmfReceived,
    MetadataProblem,
    MetadataRefused,
    Origin,
    OwnerChanged,
    SessionClosed,
    SessionOpened,
    TextReceived,
)
from schemas.events.llm import (
    Decision,
    EchoRemoved,
    LlmProviderFailed,
    LlmStageFailed,
    Missing,
    Part,
    ReplyResumed,
    SentenceKind,
    SentenceReady,
    TurnCancelled,
    TurnEnded,
    TurnStarted,
    Usage,
)
from schemas.events.stt import (
    MOST_UNFINISHED,
    SpeechEnded,
    SpeechStarted,
    SttProviderFailed,
    SttStageFailed,
    TranscriptFinal,
    TranscriptInterim,
    TurnJudged,
)
from schemas.events.tts import SegmentSynthesized, TtsProviderFailed, TtsStageFailed

__all__ = [
    "EPHEMERAL",
    "EVENTS",
    "FAILED",
    "LOST",
    "MOST_UNFINISHED",
    "AnyEvent",
    "Applies",
    "BadEvent",
    "Cause",
    "CloseReason",
    "ConfigChanged",
    "Decision",
    "DtmfReceived",
    "EchoRemoved",
    "EgressStageFailed",
    "Event",
    "LlmProviderFailed",
    "LlmStageFailed",
    "MetadataProblem",
    "MetadataRefused",
    "Missing",
    "Origin",
    "Owner",
    "OwnerChanged",
    "Part",
    "Paused",
    "PlaybackEnded",
    "PlaybackStarted",
    "ProviderErrorKind",
    "ProviderFailed",
    "ReplyResumed",
    "Resumed",
    "SegmentSynthesized",
    "SentenceKind",
    "SentenceReady",
    "SessionClosed",
    "SessionOpened",
    "SpeechEnded",
    "SpeechStarted",
    "StageFailed",
    "SttProviderFailed",
    "SttStageFailed",
    "TextReceived",
    "TranscriptFinal",
    "TranscriptInterim",
    "TtsProviderFailed",
    "TtsStageFailed",
    "TurnCancelled",
    "TurnEnded",
    "TurnJudged",
    "TurnStarted",
    "Usage",
    "Word",
    "decode",
    "encode",
    "stage",
    "tag",
    "to_json",
]

AnyEvent = (
    SessionOpened
    | MetadataRefused
    | OwnerChanged
    | ConfigChanged
    | TextReceived
    | DtmfReceived
    | SessionClosed
    | SpeechStarted
    | SpeechEnded
    | TranscriptFinal
    | TranscriptInterim
    | TurnJudged
    | TurnStarted
    | SentenceReady
    | ReplyResumed
    | EchoRemoved
    | TurnCancelled
    | TurnEnded
    | SegmentSynthesized
    | PlaybackStarted
    | Paused
    | Resumed
    | PlaybackEnded
    | SttProviderFailed
    | LlmProviderFailed
    | TtsProviderFailed
    | SttStageFailed
    | LlmStageFailed
    | TtsStageFailed
    | EgressStageFailed
)

EPHEMERAL: tuple[type[Event], ...] = (TranscriptInterim,)  # never journaled

EVENTS: tuple[type[Event], ...] = AnyEvent.__args__


class BadEvent(ValueError):
    """Bytes that are not an event of this protocol; the message names the field."""


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(AnyEvent)


def encode(event: Event) -> bytes:
    """Return the msgpack map of an event."""
    return _encoder.encode(event)


def decode(data: bytes) -> Event:
    """Return the event in a msgpack map; ignores unknown fields. Raises BadEvent."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadEvent(str(error)) from None


def to_json(event: Event) -> str:
    """Return one line of JSON in the envelope of the bus."""
    return msgspec.json.encode(event).decode()
