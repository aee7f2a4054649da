"""Options win over the environment, the environment over the data folder."""

from pathlib import Path

import pytest

from cli import discovery
from cli.errors import Failed
from composition.run_file import write_run_file

VARIABLES = "ANTIPHON_DATA ANTIPHON_NATS_URL ANTIPHON_DATABASE_URL ANTIPHON_WEIGHTS ANTIPHON_LIVEKIT_URL".split()


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def test_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert discovery.data_folder(None) == Path("data")
    monkeypatch.setenv("ANTIPHON_DATA", "/var/antiphon")
    assert discovery.data_folder(None) == Path("/var/antiphon")
    assert discovery.data_folder(tmp_path) == tmp_path


def test_nats_is_found_in_this_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="antiphon up"):
        discovery.find_nats(None, tmp_path)
    write_run_file(tmp_path, {"nats": "nats://127.0.0.1:1"})
    assert discovery.find_nats(None, tmp_path) == "nats://127.0.0.1:1"
    monkeypatch.setenv("ANTIPHON_NATS_URL", "nats://127.0.0.1:2")
    assert discovery.find_nats(None, tmp_path) == "nats://127.0.0.1:2"
    assert discovery.find_nats("nats://127.0.0.1:3", tmp_path) == "nats://127.0.0.1:3"


def test_the_database_is_sqlite_unless_another_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert discovery.database_url(None, tmp_path) == f"sqlite+aiosqlite:///{tmp_path / 'antiphon.db'}"
    monkeypatch.setenv("ANTIPHON_DATABASE_URL", "postgresql://db")
    assert discovery.database_url(None, tmp_path) == "postgresql://db"
    assert discovery.database_url("sqlite://", tmp_path) == "sqlite://"


def test_the_weights_are_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert discovery.weights_folder() == tmp_path / "antiphon" / "weights"
    monkeypatch.setenv("ANTIPHON_WEIGHTS", "/models")
    assert discovery.weights_folder() == Path("/models")


def test_rooms_without_a_secret_name_the_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert discovery.livekit_settings(None, tmp_path) is None
    monkeypatch.delenv("ANTIPHON_LIVEKIT_KEY", raising=False)
    monkeypatch.delenv("ANTIPHON_LIVEKIT_SECRET", raising=False)
    with pytest.raises(Failed, match="ANTIPHON_LIVEKIT_KEY, ANTIPHON_LIVEKIT_SECRET"):
        discovery.livekit_settings("ws://127.0.0.1:7880", tmp_path)
