"""A recognizer's view of VAD, which its owner relays."""

from stages.stt.loudness import LoudnessDetector
from stages.stt.relayed_voice import RelayedVoice
from stages.stt.voice_activity import Offset, Onset


class Listener:
    def __init__(self) -> None:
        self.heard: list[Onset | Offset | int] = []

    def speech_started(self, onset: Onset) -> None:
        self.heard.append(onset)

    def speech_ended(self, offset: Offset) -> None:
        self.heard.append(offset)


def test_it_reports_what_is_relayed_and_nothing_else() -> None:
    detector, listener = LoudnessDetector(), Listener()
    voice = RelayedVoice(detector)
    voice.follow(listener, listener.heard.append)
    detector.feed((3_000).to_bytes(2, "little") * 320, 0)
    assert (voice.speaking, voice.end, voice.voiced, voice.silence) == (True, 320, 320, 0)
    assert listener.heard == []
    voice.relay(Onset(0))
    voice.relay_judged(320)
    voice.relay(Offset(320, 0, 320))
    assert listener.heard == [Onset(0), 320, Offset(320, 0, 320)]
