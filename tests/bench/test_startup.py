"""How long the help takes: that it is measured at all, and what is told of imports."""

from bench.report import table
from bench.startup import startup


def test_the_help_is_started_so_often_and_what_it_loads_is_told() -> None:
    found = startup(starts=2)
    assert 0 < found["startup_ms"]["p50"] <= found["startup_ms"]["max"]
    assert "typer" in found["imports_ms"]
    shown = table(found)
    assert shown.startswith("antiphon --help, 2 starts")
    assert "typer" in shown
