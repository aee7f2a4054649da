"""VAD by loudness: the `script` engine."""

from stages.stt.loudness import LOUD, LoudnessDetector, LoudnessEngine, loud, loud_samples
from stages.stt.voice_activity import Offset, Onset

FRAME = 320
SILENT = bytes(2 * FRAME)
SOUND = (3_000).to_bytes(2, "little") * FRAME


class Listener:
    def __init__(self, detector: LoudnessDetector) -> None:
        self.changes: list[Onset | Offset] = []
        self.judged: list[int] = []
        detector.follow(self, self.judged.append)

    def speech_started(self, onset: Onset) -> None:
        self.changes.append(onset)

    def speech_ended(self, offset: Offset) -> None:
        self.changes.append(offset)


def test_speech_is_from_the_first_loud_sample_to_the_first_frame_without_one() -> None:
    detector = LoudnessEngine().open(print)
    listener = Listener(detector)
    frames = [SILENT, SILENT[:FRAME] + SOUND[:FRAME], SOUND, SILENT, SILENT]
    for number, frame in enumerate(frames):
        detector.feed(frame, number * FRAME)
        assert detector.speaking == (number in (1, 2))
    assert listener.changes == [Onset(FRAME + 160), Offset(3 * FRAME, FRAME, 2 * FRAME)]
    assert listener.judged == [FRAME * number for number in range(1, 6)]
    assert detector.end == 5 * FRAME


def test_a_hang_up_ends_speech_and_a_closed_detector_calls_no_listener() -> None:
    detector = LoudnessDetector()
    listener = Listener(detector)
    detector.stop()
    detector.feed(SOUND, 0)
    detector.stop()
    assert listener.changes == [Onset(0), Offset(FRAME, 0, FRAME)]
    detector.close()
    detector.feed(SOUND, FRAME)
    assert len(listener.changes) == 2


def test_a_hundredth_of_full_scale_is_silence() -> None:
    quiet, sound = (LOUD.to_bytes(2, "little"), (-LOUD - 1).to_bytes(2, "little", signed=True))
    assert not loud(quiet * 10)
    assert loud(quiet + sound)
    assert loud_samples(quiet + sound + quiet + sound) == [1, 3]
