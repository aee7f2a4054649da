"""The settings of the connection to NATS come from a mapping."""

import pytest
from pydantic import ValidationError

from bus.settings import DEFAULT_NATS_URL, BusSettings


def test_without_variables_it_is_the_local_server() -> None:
    assert BusSettings.from_environment({"PATH": "/bin"}) == BusSettings(url=DEFAULT_NATS_URL)


def test_variables_are_read_and_the_option_wins() -> None:
    environment = {"ANTIPHON_NATS_URL": "nats://a", "ANTIPHON_NATS_USER": "u", "ANTIPHON_NATS_PASSWORD": "p"}
    settings = BusSettings.from_environment(environment, "nats://b")
    assert (settings.url, settings.user) == ("nats://b", "u")
    assert settings.password is not None
    assert settings.password.get_secret_value() == "p"
    assert "'p'" not in repr(settings)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError):
        BusSettings.model_validate({"url": "nats://a", "passwort": "p"})
