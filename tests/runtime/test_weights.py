"""Model files are located with their hashes checked."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from stages.runtime.providers import ProviderMissing
from stages.runtime.weights import SILERO, locate, present

MODEL = b"a small model" * 1000
TINY = replace(SILERO, file="tiny.onnx", sha256=sha256(MODEL).hexdigest())


def test_a_model_is_located_once_its_checksum_is_right(tmp_path: Path) -> None:
    path = tmp_path / TINY.file
    path.write_bytes(MODEL[:-1])
    assert not present(TINY, tmp_path)
    with pytest.raises(ProviderMissing, match=r"wrong checksum.*antiphon fetch"):
        locate(TINY, tmp_path)
    path.write_bytes(MODEL)
    assert present(TINY, tmp_path)
    assert locate(TINY, tmp_path) == path


def test_a_missing_model_names_the_command(tmp_path: Path) -> None:
    assert not present(SILERO, tmp_path)
    with pytest.raises(ProviderMissing, match="antiphon fetch"):
        locate(SILERO, tmp_path)
