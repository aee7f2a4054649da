"""Silero as a function: windows of several callers in, a probability of speech for each out.

Silero (versions 5 and 6) takes windows of 512 samples, each with the 64 samples before it, and a state that it hands
back. Both are kept for each caller. A batch of 16 windows costs a third of 16 single runs.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from stages.runtime.weights import SILERO, locate
from stages.stt.voice_activity import WINDOW

Floats = NDArray[np.float32]
Run = Callable[[Floats, Floats], tuple[Floats, Floats]]  # [N, 576], [2, N, 128] -> [N, 1], [2, N, 128]

WINDOW_BYTES = WINDOW * SAMPLE_BYTES
CONTEXT = 64
STATE = 128
FULL_SCALE = np.float32(32_768)


class Memory:
    """The state of the model for one caller, and the end of that caller's last window."""

    def __init__(self) -> None:
        self.state: Floats = np.zeros((2, STATE), np.float32)
        self.context: Floats = np.zeros(CONTEXT, np.float32)


def probabilities(run: Run, memories: Sequence[Memory], windows: Sequence[bytes]) -> list[float]:
    """Return the probability of speech for one window of PCM16 per memory, and move the memories on by it."""
    samples = np.frombuffer(b"".join(windows), "<i2").reshape(len(windows), WINDOW) / FULL_SCALE
    heard = np.concatenate([np.stack([memory.context for memory in memories]), samples], axis=1)
    found, states = run(heard, np.stack([memory.state for memory in memories], axis=1))
    for index, memory in enumerate(memories):
        memory.state = states[:, index].copy()  # a view would keep the whole batch alive
        memory.context = heard[index, -CONTEXT:].copy()
    return [float(probability) for probability in found[:, 0]]


def load(weights: Path) -> Run:
    """Return the model as a function. Raises ProviderMissing if the folder `weights` does not hold it."""
    import onnxruntime  # noqa: TID251 - the one place: imported late, since the `script` engine does without it

    model = locate(SILERO, weights)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    rate = np.array(CALLER_HZ, np.int64)

    def run(heard: Floats, state: Floats) -> tuple[Floats, Floats]:
        found, states = session.run(None, {"input": heard, "state": state, "sr": rate})
        return found, states

    return run
