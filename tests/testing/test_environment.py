"""The environment of the kit's processes."""

import pytest

from antiphon_testing.environment import inherited, without_antiphon


def test_no_variable_leads_a_command_to_another_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_DATA", "/elsewhere")
    monkeypatch.setenv("OTHER", "kept")
    assert inherited()["ANTIPHON_DATA"] == "/elsewhere"
    clean = without_antiphon()
    assert clean["OTHER"] == "kept"
    assert [name for name in clean if name.startswith("ANTIPHON_")] == []
