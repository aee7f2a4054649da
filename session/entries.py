"""The entries of a session's state: utterances, typed texts, turns of the agent and their segments.

Each field is written by the events of one stage alone, which the docstrings name.
"""

from typing import Literal

import msgspec

from schemas.events import Part, SentenceKind, Word

AgentState = Literal["listening", "thinking", "speaking"]
Playback = Literal["waiting", "playing", "paused", "ended"]


class Utterance(msgspec.Struct, frozen=True, omit_defaults=True):
    """One stretch of the caller's speech, by stt. Positions are samples at 16 kHz.

    start: the onset. end: where speech ended, None until then.
    text: the parts of the transcript so far, joined; None before the first part, "" if they hold no words.
    parts: how many parts came. until: the end of the newest part. final: the last part is among them.
    final_time: UTC microseconds at which the last part was published. end_of_turn: the recognizer's own judgement.
    """

    start: int = 0
    end: int | None = None
    text: str | None = None
    final_time: int = 0
    parts: int = 0
    until: int = 0
    final: bool = False
    end_of_turn: bool | None = None


class OwnWords(msgspec.Struct, frozen=True):
    """The caller's words of an utterance with words of the agent among them, by llm.

    text: stands for the first `characters` of the utterance's text.
    """

    text: str
    characters: int


class Text(msgspec.Struct, frozen=True):
    """A text that the caller typed, by ingress. time: UTC microseconds."""

    text: str
    time: int


class Segment(msgspec.Struct, frozen=True, omit_defaults=True):
    """One sentence of a reply.

    llm: text, kind. tts: duration_ms, None until its audio is made and 0 if it has none; words, the times of its words,
    kept until the turn is history.
    """

    text: str = ""
    duration_ms: int | None = None
    words: tuple[Word, ...] = ()
    kind: SentenceKind = "reply"


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of the agent. Times are UTC microseconds, 0 where it has not happened.

    llm: answers (utterance; None until it started), typed (the text it answers), parts (all that it answers), text
    (the caller's), started, first_token_ms, first_sentence, complete (the reply has no more sentences), cancelled
    (why), carried (cancelled unheard: the next turn answers its text), heard (the text, None until the turn is
    history), interrupted. tts: first_audio_ms (after receiving the first sentence).
    egress: playback, playing, segment (the one heard last), heard_ms, stopped.
    segments: of the newest KEEP_SPOKEN turns only. An old turn keeps only the beginning of text and heard.
    """

    answers: int | None = None
    typed: int = 0
    text: str = ""
    started: int = 0
    first_token_ms: int | None = None
    first_sentence: int = 0
    first_audio_ms: int | None = None
    cancelled: str | None = None
    heard: str | None = None
    interrupted: bool = False
    playback: Playback = "waiting"
    playing: int = 0
    heard_ms: int = 0
    stopped: int = 0
    segments: dict[int, Segment] = {}
    parts: tuple[Part, ...] = ()
    complete: bool = False
    carried: bool = False
    segment: int = 0

    @property
    def reply(self) -> str:
        """All that the agent meant to say, heard or not."""
        return " ".join(segment.text for segment in self.segments.values() if segment.text)

    @property
    def active(self) -> bool:
        """Whether the turn has the agent's floor: it started, and it is neither cancelled nor history."""
        return self.answers is not None and self.cancelled is None and self.heard is None


class TranscriptEntry(msgspec.Struct, frozen=True):
    """One entry of the transcript. number: of the turn (agent), or of the utterance or typed text (caller)."""

    who: Literal["caller", "agent"]
    text: str
    number: int
    typed: bool = False
