"""A worker that warms one vendor's recognizer imports no SDK, so its image needs none."""

import subprocess
import sys

import pytest

SDKS = ("assemblyai", "deepgram", "hibari", "moonshine_voice", "openai", "websockets", "xllamacpp")
CODE = """
import asyncio, sys
import stages.stt.stage
from schemas.provider_keys import ProviderKeys
from stages.runtime.providers import ProviderContext, Providers

async def warm():
    keys = ProviderKeys.from_environment({{"{vendor}_API_KEY": "sesame"}})
    async with Providers("stt", ProviderContext(keys)) as providers:
        await providers.get("{provider}")

asyncio.run(warm())
print(*sorted(set({sdks!r}) & set(sys.modules)))
"""


@pytest.mark.parametrize("provider", ["assemblyai", "deepgram"])
def test_warming_a_vendor_imports_no_sdk(provider: str) -> None:
    code = CODE.format(provider=provider, vendor=provider.upper(), sdks=SDKS)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.split() == []
