"""The tables of `antiphon ps` on a terminal of 80 columns."""

import io

from rich.console import Console

from cli.ps import tables
from schemas.control import WorkerSession, WorkerStatus

OWNERS = {stage: f"{stage}0123456789abcdef" for stage in ("stt", "llm", "tts", "egress")}


def worker(stage: str, **more: object) -> WorkerStatus:
    status = {
        "id": "0123456789abcdef",
        "stage": stage,
        "pid": 4_194_304,
        "host": "worker-7.example.org",
        "capacity": 100,
    }
    return WorkerStatus(**{**status, "state": "ready", "sessions": [], **more})  # type: ignore[arg-type]


def printed(*workers: WorkerStatus) -> str:
    console = Console(width=80, file=io.StringIO(), record=True)
    for table in tables(list(workers)):
        console.print(table)
    return console.export_text()


def test_a_column_without_anything_in_it_is_left_out() -> None:
    assert "dropped or refused" not in printed(worker("stt"))
    table = printed(worker("stt"), worker("llm", counters={"draft_dropped": 2, "bad_control": 1}))
    assert "dropped or" in table
    for word in ("bad_control", "draft_dropped"):
        assert word in table, "no word is broken"


def test_a_call_is_shown_with_every_owner() -> None:
    table = printed(worker("ingress", sessions=[WorkerSession("s1", "receptionist", 3, 61.4, OWNERS)]))
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    for word in ("receptionist", "61 s", "ingress:01234567", "stt:stt01234", "egress:egress01"):
        assert word in table, "no word is broken"
