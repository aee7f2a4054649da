"""Sound files for a test's caller."""

from pathlib import Path

import numpy as np
import soundfile


def question(path: Path, hz: int = 16_000, channels: int = 1, subtype: str = "PCM_16", sound_s: float = 0.4) -> Path:
    """Write a WAV of a hum, which the scripted recognizer takes for an utterance, and 0.3 s of silence."""
    hum = 0.4 * np.sin(2 * np.pi * 300 * np.arange(int(sound_s * hz)) / hz)
    mono = np.concatenate([hum, np.zeros(int(0.3 * hz))])
    soundfile.write(path, np.stack([mono] * channels, axis=1), hz, subtype=subtype)
    return path
