"""A worker that warms one voice imports no SDK and no other voice."""

import subprocess
import sys

import pytest

from tests.workshop.test_tree import ROOT

VOICES = ("cartesia", "deepgram", "elevenlabs", "openai")
SDKS = {"cartesia", "deepgram", "elevenlabs", "hibari", "openai", "moonshine_voice", "onnxruntime"}


@pytest.mark.parametrize("name", VOICES)
def test_a_voice_imports_only_what_it_needs(name: str) -> None:
    program = f"import sys, stages.tts.stage, stages.tts.providers.{name}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert not SDKS & loaded
    assert {module for module in loaded if module.startswith("stages.tts.providers.")} == {
        f"stages.tts.providers.{name}"
    }
