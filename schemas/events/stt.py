"""Events of stt: the caller's speech and its transcript. Positions are samples of the caller's audio at 16 kHz."""

from typing import Literal

from schemas.events.envelope import Event, ProviderFailed, StageFailed, Word

MOST_UNFINISHED = 8  # utterances that wait for their final; a recognizer that owes more will not catch up, and fails


class SpeechStarted(Event, tag="stt.speech_started", frozen=True):
    """The caller began to speak. start_sample: the onset of speech."""

    utterance: int
    start_sample: int


class SpeechEnded(Event, tag="stt.speech_ended", frozen=True):
    """The caller fell silent.

    until_sample: the end of speech. silence_ms: how long the caller had been silent when stt published this.
    final_within_ms: the recognizer's own 99th percentile from here to the final transcript.
    """

    utterance: int
    until_sample: int
    silence_ms: int = 0
    final_within_ms: int = 400


class TranscriptFinal(Event, tag="stt.transcript_final", frozen=True):
    """A stretch of speech whose text will not change; `text` is empty when the stretch holds no words.

    An utterance has one final or several parts, numbered from 0; exactly one of them has `last`.
    At most 8 utterances at a time wait for their last part: a recognizer that is further behind has failed.

    until_sample: the watermark that a new owner of stt resumes from.
    end_of_turn: the provider's own judgement whether the caller has finished, None where it has none.
    provider, audio_ms: the provider that was used, and the speech that it transcribed.
    """

    utterance: int
    text: str
    start_sample: int
    until_sample: int
    words: tuple[Word, ...] = ()
    end_of_turn: bool | None = None
    part: int = 0
    last: bool = True
    provider: str = ""
    audio_ms: int = 0


class TranscriptInterim(Event, tag="stt.transcript_interim", frozen=True):
    """Ephemeral: the transcript of an open utterance so far."""

    utterance: int
    text: str
    start_sample: int
    until_sample: int


class TurnJudged(Event, tag="stt.turn_judged", frozen=True):
    """An audio judge or a recognizer judged, during a pause, whether the caller has finished the turn.

    at_sample: the end of the audio that was judged. probability: 0 to 1 that the turn is over.
    source: the recognizer's own turn events, or an audio model.
    """

    utterance: int
    at_sample: int
    probability: float
    source: Literal["recognizer", "audio"]


class SttProviderFailed(ProviderFailed, tag="stt.provider_failed", frozen=True):
    """The recognizer failed."""


class SttStageFailed(StageFailed, tag="stt.stage_failed", frozen=True):
    """The stt stage ended the session because of an error."""
