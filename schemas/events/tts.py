"""Events of tts: the agent's voice."""

from schemas.events.envelope import Event, ProviderFailed, StageFailed, Word


class SegmentSynthesized(Event, tag="tts.segment_synthesized", frozen=True):
    """tts has sent all audio of a segment.

    first_audio_ms: from receiving the sentence to its first chunk. words: their times, where the provider has them.
    provider, characters: the provider that was used, and the characters that it synthesized.
    """

    segment: int
    duration_ms: int
    first_audio_ms: int = 0
    words: tuple[Word, ...] = ()
    provider: str = ""
    characters: int = 0


class TtsProviderFailed(ProviderFailed, tag="tts.provider_failed", frozen=True):
    """The synthesizer failed."""


class TtsStageFailed(StageFailed, tag="tts.stage_failed", frozen=True):
    """The tts stage ended the session because of an error."""
