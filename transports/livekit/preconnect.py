"""Joins pre-connect audio to the received audio by correlation (ADR 21).

LiveKit's clients record the caller until they see an agent (`preConnectBuffer`), and send the recording to it as a byte
stream. Egress decodes it for ingress (`recording.py`). Ingress may have received the end of it already.
"""

import numpy as np
from numpy.typing import NDArray

from schemas.audio import CALLER_HZ, SAMPLE_BYTES

TOPIC = "lk.agent.pre-connect-audio-buffer"

COMPARED = 6 * CALLER_HZ // 10  # samples of received audio that are compared
PROBE = CALLER_HZ // 4  # samples of each comparison; the one with the best match decides
TAIL = 3 * CALLER_HZ  # samples at the end of a recording that are searched: it ends soon after the agent has come
AUDIBLE = 100.0  # of 32,768, root mean square: less is too quiet to compare
ALIKE = 0.85  # correlation; the same speech twice through Opus reaches 0.96, other words of the voice at most 0.75


def part_before(recorded: bytes, received: bytes, late: int) -> bytes:
    """Return the part of a recording that comes before the received audio; all PCM16 mono at 16 kHz.

    late: samples of time from the begin of the received audio to the arrival of the recording. It decides where the two
    have no sound in common.
    """
    found = find_overlap(np.frombuffer(recorded, "<i2"), np.frombuffer(received, "<i2"))
    until = len(recorded) // SAMPLE_BYTES - late if found is None else found
    return recorded[: max(0, until) * SAMPLE_BYTES]


def find_overlap(recorded: NDArray[np.int16], received: NDArray[np.int16]) -> int | None:
    """Return the sample of the recording at which the received audio begins; None if its end has no similar sound.

    Both arrays have the shape (samples,), at 16 kHz.
    """
    skipped = max(0, recorded.size - TAIL)
    here, there = received[:COMPARED].astype(np.float64), recorded[skipped:].astype(np.float64)
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
    """Return the energy of every stretch of PROBE samples."""
    sums = np.concatenate(([0.0], np.cumsum(samples**2)))
    energies: NDArray[np.float64] = sums[PROBE:] - sums[:-PROBE]
    return energies
