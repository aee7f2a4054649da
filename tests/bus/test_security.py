"""A guarded server: what the settings offer is what nats-server asks for."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bus.connect import connect
from bus.errors import Unreachable
from bus.server import binary
from bus.settings import BusSettings

CANARY = "s3cret-canary"


def listening(folder: Path) -> str:
    """host:port of the server whose ports file lies in `folder`, "" before it is there."""
    written = [text for path in folder.glob("*.ports") if (text := path.read_text())]
    return json.loads(written[0])["nats"][0].rpartition("/")[2] if written else ""


def certificate(folder: Path, name: str) -> None:
    """A self-signed certificate for this machine: NAME.pem and NAME.key."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"), "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip


@asynccontextmanager
async def guarded(folder: Path, **settings: Any) -> AsyncIterator[str]:
    """A nats-server with these settings; yields host:port."""
    config = folder / "guarded.conf"
    config.write_text(json.dumps({"host": "127.0.0.1", "port": -1, "ports_file_dir": str(folder), **settings}))
    server = await asyncio.create_subprocess_exec(binary(), "-c", str(config), stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(10):
            while not (where := listening(folder)):
                await asyncio.sleep(0.01)
        yield where
    finally:
        server.terminate()
        await server.wait()


async def works(settings: BusSettings) -> bool:
    """Whether a bus with these settings carries a message there and back."""
    async with connect(settings) as bus:
        heard = asyncio.Event()
        await bus.subscribe("hello", lambda _message: heard.set())
        await bus.flush()
        bus.publish("hello", b"")
        async with asyncio.timeout(2):
            await heard.wait()
        return True


async def test_the_right_password_opens_and_a_wrong_one_is_told_without_it(tmp_path: Path) -> None:
    async with guarded(tmp_path, authorization={"user": "worker", "password": "right"}) as where:
        right = BusSettings(url=f"nats://{where}", user="worker", password=SecretStr("right"))
        assert await works(right)
        for wrong in (
            BusSettings(url=f"nats://{where}", user="worker", password=SecretStr(CANARY)),
            BusSettings(url=f"nats://worker:{CANARY}@{where}"),
            BusSettings(url=f"nats://{where}"),
        ):
            with pytest.raises(Unreachable) as refused:
                await works(wrong)
            assert CANARY not in str(refused.value)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed: apt-get install openssl")
async def test_tls_is_spoken_where_an_authority_is_named_and_strangers_are_refused(tmp_path: Path) -> None:
    for name in ("ours", "stranger"):
        certificate(tmp_path, name)
    tls = {"cert_file": str(tmp_path / "ours.pem"), "key_file": str(tmp_path / "ours.key")}
    async with guarded(tmp_path, tls=tls) as where:
        assert await works(BusSettings(url=f"tls://{where}", tls_ca=tmp_path / "ours.pem"))
        with pytest.raises(Unreachable):
            await works(BusSettings(url=f"tls://{where}", tls_ca=tmp_path / "stranger.pem"))


def test_settings_come_from_the_environment_and_a_flag_wins() -> None:
    environment = {
        "ANTIPHON_NATS_URL": "nats://there:4222",
        "ANTIPHON_NATS_USER": "worker",
        "ANTIPHON_NATS_PASSWORD": CANARY,
        "ANTIPHON_NATS_TLS_CA": "/ca.pem",
    }
    told = BusSettings.from_environment(environment)
    assert (told.url, told.user, told.tls_ca) == ("nats://there:4222", "worker", Path("/ca.pem"))
    assert CANARY not in repr(told)
    assert BusSettings.from_environment(environment, "nats://here:1").url == "nats://here:1"
