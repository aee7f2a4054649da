"""Facts: what the stages say about a call, each in the past tense, each said by one stage only.

On the wire a fact is a msgpack map, so that any language reads it. The tag (`event`) is the tail of the subject it is
said on: `va1.event.<agent>.<session>.<stage>.<fact>`. A field that a reader does not know is ignored; a field that a
later version adds has a default. Positions on the caller's line are samples at 16 kHz since the session opened.
"""

from functools import cache
from typing import Any

import msgspec


class Cause(msgspec.Struct, frozen=True):
    """The message that a decision answers: who said it, and which of theirs it was."""

    stage: str
    epoch: int
    seq: int


class Word(msgspec.Struct, frozen=True):
    """One word and where it lies, in milliseconds from the start of its segment or utterance."""

    text: str
    start_ms: int
    end_ms: int


class Owner(msgspec.Struct, frozen=True):
    """The worker that owns a stage of a session, and the epoch at which it was claimed."""

    worker: str
    epoch: int


class Fact(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """The envelope. A stage fills in its own fields; `Session.say` stamps these.

    turn: the turn it belongs to; 0 is none, 1 is the greeting.
    epoch: at which the speaker was claimed.
    seq: dense from 0 per (session, stage, epoch); facts and live messages are counted apart.
    time: UTC, integer microseconds.
    """

    session: str = ""
    agent: str = ""
    turn: int = 0
    epoch: int = 0
    seq: int = 0
    time: int = 0


# --- ingress: the life of the call -------------------------------------------------------------------------------


class Origin(msgspec.Struct, frozen=True):
    """Where a call came from: the room, and what its metadata said of it. Empty: not told."""

    room: str = ""
    campaign_id: str = ""
    lead_id: str = ""
    phone_number: str = ""


class SessionOpened(Fact, tag="ingress.session_opened", frozen=True):
    """Every stage is claimed and has started; the greeting waits for this.

    The first fact of a call, unless the caller spoke before: stt listens as soon as it is claimed, and tells.

    owners: stage -> who owns it. coordinator: the ingress worker. transport: `websocket`, `null`, ...
    started: UTC microseconds of sample 0 of the caller's line, from which any position in samples becomes a time.
    config: the agent document the call runs on, without secrets. version: of the protocol.
    origin: of a call in a room.
    """

    owners: dict[str, Owner]
    coordinator: str
    transport: str
    started: int
    config: dict[str, Any]
    version: int = 1
    origin: Origin | None = None


class MetadataRefused(Fact, tag="ingress.metadata_refused", frozen=True):
    """The metadata of a room was not what was agreed; the call goes on without what was wrong with it.

    reason: `missing`, `not_json`, `not_an_object`, `too_long`, `wrong_type`, `bad_value`, `unknown_agent`.
    field: which of its fields, where it is one.
    """

    reason: str
    field: str = ""


class OwnerChanged(Fact, tag="ingress.owner_changed", frozen=True):
    """`stage` of this session is owned by `worker` from `owner_epoch` on; what older epochs of it say is dead."""

    stage: str
    worker: str
    owner_epoch: int


class TextReceived(Fact, tag="ingress.text_received", frozen=True):
    """The caller typed instead of speaking: `text` is a whole turn. number: counts the texts of a session from 1."""

    text: str
    number: int


class DtmfReceived(Fact, tag="ingress.dtmf_received", frozen=True):
    """The caller pressed a key. digit: one of 0-9, `*`, `#`, A-D."""

    digit: str


class SessionClosed(Fact, tag="ingress.session_closed", frozen=True):
    """The last fact of a call.

    reason: `hangup`, `caller_lost`, `shutdown`, `no_worker`, `<stage>_lost`, `<stage>_failed`, `overloaded`, ...
    """

    reason: str
    detail: str = ""


# --- stt: what the caller says ------------------------------------------------------------------------------------

MOST_UNFINISHED = 8  # utterances that wait for their final; a recogniser that owes more will not catch up, and fails


class SpeechStarted(Fact, tag="stt.speech_started", frozen=True):
    """The caller began to speak. at: sample of the onset."""

    utterance: int
    at: int


class SpeechEnded(Fact, tag="stt.speech_ended", frozen=True):
    """The caller fell silent.

    at: sample where speech ended. silence_ms: how long it had been silent when this was said.
    final_within_ms: the recogniser's own 99th percentile from here to the final transcript.
    """

    utterance: int
    at: int
    silence_ms: int = 0
    final_within_ms: int = 400


class TranscriptFinal(Fact, tag="stt.transcript_final", frozen=True):
    """What the recogniser will not take back. Said once for each stretch of audio; `text` may be empty (no words).

    At most 8 utterances at a time wait for it: a recogniser that is further behind has failed.

    start, until: samples of the caller's line; `until` is the watermark that a new owner resumes from.
    ends_turn: the provider's own judgement whether the caller has finished, None where it has none.
    """

    utterance: int
    text: str
    start: int
    until: int
    words: tuple[Word, ...] = ()
    ends_turn: bool | None = None


class TranscriptInterim(Fact, tag="stt.transcript_interim", frozen=True):
    """Live plane: what the recogniser hears so far in an open utterance."""

    utterance: int
    text: str
    start: int
    until: int


# --- llm: the conversation ----------------------------------------------------------------------------------------


class Decision(Fact, frozen=True, kw_only=True):
    """What every fact of the llm stage carries: what caused it, and the machine's clock (ms) when it decided."""

    cause: Cause | None = None
    now_ms: int = 0


class TurnStarted(Decision, tag="llm.turn_started", frozen=True):
    """The agent takes the floor: every turn below `turn` is cancelled, and holds for utterances <= `answers` lift.

    answers: the last utterance that is settled by it, -1 for none. typed: the last text that it answers, 0 if it
    answers none. text: what the caller said and typed.
    """

    answers: int
    text: str = ""
    typed: int = 0


class SentenceReady(Decision, tag="llm.sentence_ready", frozen=True):
    """A segment of the reply, ready to be spoken. `last`: the reply has no more; then `text` may be empty.

    first_token_ms: from turn_started to the model's first token, 0 if that had come before; said with segment 0 only.
    """

    segment: int
    text: str
    last: bool = False
    first_token_ms: int | None = None


class ReplyResumed(Decision, tag="llm.reply_resumed", frozen=True):
    """What the caller did was no turn: holds for utterances <= `utterance` lift and the reply goes on."""

    utterance: int


class TurnCancelled(Decision, tag="llm.turn_cancelled", frozen=True):
    """The caller took the floor: no more of `turn` may be heard. Saying it twice is harmless."""

    reason: str = "interrupted"


class TurnEnded(Decision, tag="llm.turn_ended", frozen=True):
    """The turn is history. heard: the text that reached the caller's ear, which is all that history keeps."""

    heard: str
    interrupted: bool = False


# --- tts: the voice -----------------------------------------------------------------------------------------------


class SegmentSynthesized(Fact, tag="tts.segment_synthesized", frozen=True):
    """All audio of a segment has been sent. first_audio_ms: from hearing the sentence to its first chunk."""

    segment: int
    duration_ms: int
    first_audio_ms: int = 0
    words: tuple[Word, ...] = ()


# --- egress: what the caller hears --------------------------------------------------------------------------------


class PlaybackStarted(Fact, tag="egress.playback_started", frozen=True):
    """The first sample of the turn went out to the caller."""


class Paused(Fact, tag="egress.paused", frozen=True):
    """The agent fell silent at once because utterance `utterance` began; the position is final.

    segment: the one that was playing. heard_ms: of the whole turn, what the caller has heard.
    Said also when nothing plays yet (heard_ms 0): the hold is set all the same.
    """

    segment: int
    heard_ms: int
    utterance: int


class Resumed(Fact, tag="egress.resumed", frozen=True):
    """The hold was lifted and what was kept goes on from heard_ms.

    reason: `decided`, or `timeout`: no decision came.
    """

    heard_ms: int
    utterance: int
    reason: str = "decided"


class PlaybackEnded(Fact, tag="egress.playback_ended", frozen=True):
    """The caller has heard the last of the turn, or all that it will hear of a cancelled one."""

    heard_ms: int
    interrupted: bool = False


# --- any stage: what went wrong -----------------------------------------------------------------------------------


class ProviderFailed(Fact, frozen=True):
    """A provider let the stage down. kind: see ProviderError. message: what happened, without secrets or speech."""

    provider: str
    kind: str
    message: str
    retryable: bool = False


class SttProviderFailed(ProviderFailed, tag="stt.provider_failed", frozen=True):
    """The recogniser failed."""


class LlmProviderFailed(ProviderFailed, tag="llm.provider_failed", frozen=True):
    """The language model failed."""


class TtsProviderFailed(ProviderFailed, tag="tts.provider_failed", frozen=True):
    """The synthesizer failed."""


class Broken(Fact, frozen=True):
    """The session cannot go on in this stage; ingress closes it.

    reason: `overloaded` (a queue of facts was full) or `failed`.
    """

    reason: str
    detail: str = ""


class SttBroken(Broken, tag="stt.broken", frozen=True):
    """The stt stage gave the session up."""


class LlmBroken(Broken, tag="llm.broken", frozen=True):
    """The llm stage gave the session up."""


class TtsBroken(Broken, tag="tts.broken", frozen=True):
    """The tts stage gave the session up."""


class EgressBroken(Broken, tag="egress.broken", frozen=True):
    """The egress stage gave the session up."""


AnyFact = (
    SessionOpened
    | MetadataRefused
    | OwnerChanged
    | TextReceived
    | DtmfReceived
    | SessionClosed
    | SpeechStarted
    | SpeechEnded
    | TranscriptFinal
    | TranscriptInterim
    | TurnStarted
    | SentenceReady
    | ReplyResumed
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
    | SttBroken
    | LlmBroken
    | TtsBroken
    | EgressBroken
)

LIVE: tuple[type[Fact], ...] = (TranscriptInterim,)  # said on the live plane, never journaled

FACTS: tuple[type[Fact], ...] = AnyFact.__args__


class BadFact(ValueError):
    """Bytes that are not a fact of this protocol; the message names the field."""


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Fact] = msgspec.msgpack.Decoder(AnyFact)


def tag(fact: Fact | type[Fact]) -> str:
    """`<stage>.<fact>`, the tail of its subject."""
    name = fact.__struct_config__.tag
    assert isinstance(name, str)
    return name


def stage(fact: Fact | type[Fact]) -> str:
    """The stage that says it."""
    return _stage(fact if isinstance(fact, type) else type(fact))


@cache  # asked several times of every fact
def _stage(fact: type[Fact]) -> str:
    return tag(fact).partition(".")[0]


def encode(fact: Fact) -> bytes:
    """The msgpack map of a fact."""
    return _encoder.encode(fact)


def decode(data: bytes) -> Fact:
    """A fact from its msgpack map; unknown fields are ignored. Raises BadFact."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadFact(str(error)) from None


def to_json(fact: Fact) -> str:
    """One line of JSON in the envelope of the bus."""
    return msgspec.json.encode(fact).decode()
