"""The file by which commands find a running platform."""

import json
from pathlib import Path

import pytest

from composition.run_file import RUN_FILE, read_run_file, remove_run_file, write_run_file


def test_the_addresses_of_a_running_platform_are_read_back(tmp_path: Path) -> None:
    write_run_file(tmp_path, {"nats": "nats://127.0.0.1:4222"})
    assert read_run_file(tmp_path) == {"nats": "nats://127.0.0.1:4222", "data": str(tmp_path)}
    assert [path.name for path in tmp_path.iterdir()] == [RUN_FILE]
    remove_run_file(tmp_path)
    assert read_run_file(tmp_path) is None
    remove_run_file(tmp_path)  # twice does no harm


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": "x"}', json.dumps({"pid": 2**22 + 1, "nats": "x"})])
def test_a_file_of_a_dead_platform_or_a_broken_file_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / RUN_FILE).write_text(text)
    assert read_run_file(tmp_path) is None
