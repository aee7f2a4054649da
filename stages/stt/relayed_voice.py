"""The worker's VAD as one recognizer of a chain sees it: one that opens late learns of speech that it missed."""

from collections.abc import Callable

from stages.stt.contract import SpeechListener, Voice
from stages.stt.voice_activity import Offset, Onset


class RelayedVoice:
    """A Voice whose onsets and offsets its owner relays, so that they can be replayed along with the audio."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._listeners: list[SpeechListener] = []
        self._judged: list[Callable[[int], None]] = []

    @property
    def speaking(self) -> bool:
        return self._voice.speaking

    @property
    def silence(self) -> int:
        return self._voice.silence

    @property
    def voiced(self) -> int:
        return self._voice.voiced

    @property
    def end(self) -> int:
        return self._voice.end

    def follow(self, listener: SpeechListener, judged: Callable[[int], None] | None = None) -> None:
        self._listeners.append(listener)
        if judged is not None:
            self._judged.append(judged)

    def relay(self, heard: Onset | Offset) -> None:
        """Report an onset or an offset to the recognizer."""
        for listener in self._listeners:
            if isinstance(heard, Onset):
                listener.speech_started(heard)
            else:
                listener.speech_ended(heard)

    def relay_judged(self, until: int) -> None:
        """Report that VAD has judged the audio before `until`."""
        for judged in self._judged:
            judged(until)
