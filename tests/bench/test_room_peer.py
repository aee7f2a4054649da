"""LiveKit Agents beside the product: what is said when it is not installed."""

from pathlib import Path

import pytest

from bench import room_peer


def test_without_it_one_is_told_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="make peer"):
        room_peer.check_installed()
