"""What a caller said before anybody was there: LiveKit's clients record it for the agent (`preConnectBuffer`).

They send it, once they see an agent, as a byte stream to it: so it comes to egress, which makes samples of it for
ingress (`recording.py`). The end of it ingress has heard itself: `before` finds the place by its sound.
"""

import numpy as np
from numpy.typing import NDArray

from schemas.audio import CALLER_HZ, SAMPLE_BYTES

TOPIC = "lk.agent.pre-connect-audio-buffer"

LOOK = 6 * CALLER_HZ // 10  # samples of what was heard, of which
PROBE = CALLER_HZ // 4  # the quarter of a second with the best match decides
TAIL = 3 * CALLER_HZ  # samples at the end of the recording to look in: a client ends it soon after it sees the agent
AUDIBLE = 100.0  # of 32,768, root mean square: less has no sound to go by
ALIKE = 0.85  # correlation: the same speech twice through Opus has 0.96 and more, other words of a voice up to 0.75


def before(recorded: bytes, heard: bytes, late: int) -> bytes:
    """What of a recording comes before what was heard; both PCM16 mono at 16 kHz.

    late: samples of time from the beginning of what was heard to the end of the recording, for two that have no sound
    in common.
    """
    found = seam(np.frombuffer(recorded, "<i2"), np.frombuffer(heard, "<i2"))
    until = len(recorded) // SAMPLE_BYTES - late if found is None else found
    return recorded[: max(0, until) * SAMPLE_BYTES]


def seam(recorded: NDArray[np.int16], heard: NDArray[np.int16]) -> int | None:
    """The sample of the recording at which what was heard begins; None where nothing at its end sounds the same."""
    skipped = max(0, recorded.size - TAIL)
    here, there = heard[:LOOK].astype(np.float64), recorded[skipped:].astype(np.float64)
    if min(here.size, there.size) < PROBE:
        return None
    size = 1 << (there.size + PROBE).bit_length()
    spectrum, energies = np.fft.rfft(there, size), np.maximum(_energies(there), AUDIBLE**2 * PROBE)
    found, closest = None, ALIKE
    for start in range(0, here.size - PROBE + 1, PROBE // 2):  # the recording may have ended before the later ones
        probe = here[start : start + PROBE]
        energy = max(float(probe @ probe), AUDIBLE**2 * PROBE)
        product = np.fft.irfft(spectrum * np.fft.rfft(probe, size).conj(), size)[: energies.size]
        alike = product / np.sqrt(energies * energy)
        best = int(np.argmax(alike))
        if alike[best] >= closest:
            found, closest = skipped + best - start, alike[best]
    return found


def _energies(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of every stretch of PROBE samples."""
    sums = np.concatenate(([0.0], np.cumsum(samples**2)))
    energies: NDArray[np.float64] = sums[PROBE:] - sums[:-PROBE]
    return energies
