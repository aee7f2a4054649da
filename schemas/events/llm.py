"""Events of llm: the conversation. Each carries its cause and the turn machine's clock."""

from typing import Literal

import msgspec

from schemas.events.envelope import Cause, Event, ProviderFailed, StageFailed


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one request to a language model. cached_tokens: those of the input that the vendor had cached."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0


class Part(msgspec.Struct, frozen=True):
    """One part of what a turn answers: an utterance, or the typed text `typed` that came after that utterance."""

    utterance: int
    typed: int = 0


class Missing(msgspec.Struct, frozen=True):
    """An utterance that was settled before its last transcript came. text: its words as far as they were known."""

    utterance: int
    text: str = ""


SentenceKind = Literal["reply", "filler", "notice"]


class Decision(Event, frozen=True, kw_only=True):
    """The fields of every event of llm: the event that caused it, and the turn machine's clock in ms."""

    cause: Cause | None = None
    now_ms: int = 0


class TurnStarted(Decision, tag="llm.turn_started", frozen=True):
    """The agent takes the floor: every turn below `turn` is cancelled, and holds for utterances <= `answers` end.

    answers: the last utterance that this turn settles, -1 for none. typed: the last typed text that it answers, 0 for
    none. text: what the caller said and typed. parts: the utterances and texts that `text` is made of, in order.
    missing: all utterances that are settled by now and whose last transcript has not come.
    """

    answers: int
    text: str = ""
    typed: int = 0
    parts: tuple[Part, ...] = ()
    missing: tuple[Missing, ...] = ()


class SentenceReady(Decision, tag="llm.sentence_ready", frozen=True):
    """A segment of the reply, ready to be spoken. `last`: the reply has no more; then `text` may be empty.

    first_token_ms: from turn_started to the model's first token, 0 if that came before; with segment 0 only.
    kind: only a `reply` enters the history.
    """

    segment: int
    text: str
    last: bool = False
    first_token_ms: int | None = None
    kind: SentenceKind = "reply"


class ReplyResumed(Decision, tag="llm.reply_resumed", frozen=True):
    """The caller's sound was no turn: holds for utterances <= `utterance` end and the reply goes on.

    missing: as in `llm.turn_started`. echo: the caller's line brings the agent's own words back, so from now on in this
    session only the caller's words, and no mere sound, may silence the agent.
    """

    utterance: int
    missing: tuple[Missing, ...] = ()
    echo: bool = False


class EchoRemoved(Decision, tag="llm.echo_removed", frozen=True):
    """A transcript held words of the agent that the caller's line brought back.

    text: the caller's own words, empty if there are none. It stands for the first `characters` of the transcript of
    `utterance`, whose parts are joined by one space; parts that follow it count as they are.
    """

    utterance: int
    characters: int = 0
    text: str = ""


class TurnCancelled(Decision, tag="llm.turn_cancelled", frozen=True):
    """The caller took the floor: no more of `turn` may be played. Publishing it twice is harmless.

    reason: `interrupted` by speech, or by `typed` text. carried: nothing was heard of it, so the next turn answers its
    text again.
    """

    reason: Literal["interrupted", "typed"] = "interrupted"
    carried: bool = False


class TurnEnded(Decision, tag="llm.turn_ended", frozen=True):
    """The turn is history. heard: the text that the caller heard, which is all that the history keeps.

    provider, model, usage: of the reply; empty for a greeting. usage: None where the model counted no tokens.
    truncated: the reply ends before the model had finished it, at a limit of its length or because the model failed.
    """

    heard: str
    interrupted: bool = False
    provider: str = ""
    model: str = ""
    usage: Usage | None = None
    truncated: bool = False


class LlmProviderFailed(ProviderFailed, tag="llm.provider_failed", frozen=True):
    """The language model failed."""


class LlmStageFailed(StageFailed, tag="llm.stage_failed", frozen=True):
    """The llm stage ended the session because of an error."""
