"""The recording of a call: two lines on one clock."""

import numpy as np

from antiphon_testing.recording import Recording
from schemas.audio import AGENT_HZ, CALLER_HZ

SECOND = np.full(CALLER_HZ, 1_000, "<i2").tobytes()
AGENT_SECOND = np.full(AGENT_HZ, 2_000, "<i2").tobytes()


def test_both_lines_are_as_long_as_the_callers() -> None:
    with Recording() as recording:
        recording.sent(SECOND * 3)
        recording.heard(AGENT_SECOND * 2)
        assert recording.seconds == 3.0
        assert b"".join(recording.heard_blocks()) == AGENT_SECOND * 2
        said, heard = recording.lines(AGENT_HZ)
        both = np.frombuffer(b"".join(recording.stereo_blocks()), "<i2").reshape(-1, 2)
    assert (len(said), len(heard)) == (3 * AGENT_HZ, 2 * AGENT_HZ)
    assert len(both) == 3 * AGENT_HZ
    middle = AGENT_HZ // 2
    assert both[middle].tolist() == [1_000, 2_000]
    assert both[-1, 1] == 0  # the agent was silent at the end
