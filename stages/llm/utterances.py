"""The caller's utterances that have no answer yet, folded from the events of stt. Pure.

Only the last utterance can be open: a caller has one voice, so a new utterance ends the one before it, and so does the
last part of its transcript.
"""

import msgspec
from msgspec.structs import replace

from schemas.audio import CALLER_HZ, samples_to_ms
from schemas.events import SpeechEnded, SpeechStarted, TextReceived, TranscriptFinal, TranscriptInterim
from session.words import joined, words
from stages.llm.endpointing import is_backchannel

MAX_TEXT = 2_000  # characters of one turn that reach the model; of a longer turn the end matters most

Heard = SpeechStarted | SpeechEnded | TranscriptInterim | TranscriptFinal


class End(msgspec.Struct, frozen=True):
    """The end of speech. at_ms: when its event was handled. last_speech_ms: when it happened, by the clock of llm."""

    at_ms: int
    last_speech_ms: int
    lasted_ms: int = 0
    final_within_ms: int = 0


class Utterance(msgspec.Struct, frozen=True):
    """One stretch of speech. start: sample of its onset. text: so far, until `final`. end: None while it goes on.

    certain: the parts of its transcript so far, joined. parts: how many came.
    typed: number of a typed text, which counts as a final utterance; `number` is then the utterance before it. 0 for
    speech.
    """

    number: int
    started_ms: int
    start: int
    text: str = ""
    end: End | None = None
    final: bool = False
    ends_turn: bool | None = None
    typed: int = 0
    certain: str = ""
    parts: int = 0

    @property
    def has_words(self) -> bool:
        return self.typed > 0 or bool(words(self.text))

    @property
    def backchannel(self) -> bool:
        """Whether the words so far are a backchannel."""
        return is_backchannel(self.text, whole=self.final)


Said = tuple[Utterance, ...]


def follow(said: Said, heard: Heard, now_ms: int, settled: int) -> Said:
    """Return `said` after `heard`. An utterance up to `settled` that is not in `said` changes nothing."""
    number = heard.utterance
    known = next((utterance for utterance in said if utterance.number == number and not utterance.typed), None)
    newest = max(settled, said[-1].number if said else settled)
    match heard:
        case SpeechStarted() if number > newest:
            return (*close(said, now_ms), Utterance(number, now_ms, heard.start_sample))
        case SpeechEnded() if known and (known.final or not known.end):  # a final may come before the end
            return merge(said, (replace(known, end=_end(known, heard, now_ms)),))
        case TranscriptInterim() if known and not known.final:
            return merge(said, (replace(known, text=heard.text),))
        case TranscriptFinal() if known:
            return complete(said, heard, now_ms)
        case TranscriptFinal() if number > settled:  # `speech_started` was lost
            found = transcribe(Utterance(number, now_ms, heard.start_sample), heard, now_ms)
            return merge(close(said, now_ms), (found,)) if number > newest else merge(said, close((found,), now_ms))
    return said


def complete(said: Said, heard: TranscriptFinal, now_ms: int) -> Said:
    """Return `said` with a part of the transcript of one of its utterances."""
    return tuple(
        transcribe(one, heard, now_ms) if one.number == heard.utterance and not one.typed and not one.final else one
        for one in said
    )


def type_in(said: Said, typed: TextReceived, now_ms: int, settled: int) -> Said:
    """Return `said` with a typed text behind it."""
    number = max(settled, said[-1].number if said else settled)
    text = Utterance(number, now_ms, 0, typed.text, End(now_ms, now_ms), final=True, ends_turn=True, typed=typed.number)
    return (*close(said, now_ms), text)


def transcribe(utterance: Utterance, heard: TranscriptFinal, now_ms: int) -> Utterance:
    """Return the utterance with one more part of its transcript; the last part makes it final and ends it."""
    utterance = append(utterance, heard)
    if not heard.last:
        return replace(utterance, text=utterance.certain)
    end = utterance.end or End(now_ms, now_ms)
    return replace(utterance, text=utterance.certain, end=end, final=True, ends_turn=heard.end_of_turn)


def append(utterance: Utterance, heard: TranscriptFinal) -> Utterance:
    """Return the utterance with the words of one more part in `certain`. A repeated part adds none.

    A new owner of stt repeats a part that its snapshot did not hold yet.
    """
    if heard.part < utterance.parts:
        return utterance
    return replace(utterance, certain=joined(utterance.certain, heard.text), parts=heard.part + 1)


def merge(older: Said, newer: Said) -> Said:
    """Return both in order of number; of two with one number the newer."""
    every = {(utterance.number, utterance.typed): utterance for utterance in (*older, *newer)}
    return tuple(every[place] for place in sorted(every))


def close(said: Said, now_ms: int) -> Said:
    """Return `said` with the open utterance ended."""
    return tuple(u if u.end else replace(u, end=End(now_ms, now_ms, now_ms - u.started_ms)) for u in said)


def text_of(said: Said) -> str:
    """Return all words of `said` as one text, its last MAX_TEXT characters."""
    return " ".join(u.text.strip() for u in said if u.has_words)[-MAX_TEXT:].strip()


def _end(utterance: Utterance, ended: SpeechEnded, now_ms: int) -> End:
    lasted_ms = samples_to_ms(max(0, ended.until_sample - utterance.start), CALLER_HZ)
    return End(now_ms, now_ms - max(0, ended.silence_ms), lasted_ms, max(0, ended.final_within_ms))
