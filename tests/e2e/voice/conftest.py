"""These calls need the local engines."""

import pytest

from cli.discovery import weights_folder
from stages.runtime.providers import ProviderMissing
from stages.runtime.weights import WEIGHTS, locate


@pytest.fixture(scope="module", autouse=True)
def engines() -> None:
    """Skips, saying why, where there are none."""
    for package in ("moonshine_voice", "onnxruntime", "hibari", "xllamacpp"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install -e '.[local]'")
    try:
        for weight in WEIGHTS:
            locate(weight, weights_folder())
    except ProviderMissing as missing:
        pytest.skip(str(missing))
