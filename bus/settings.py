"""Settings of the connection to NATS. Parsed from a mapping: only `cli` reads the environment."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr

DEFAULT_NATS_URL = "nats://127.0.0.1:4222"


class BusSettings(BaseModel):
    """Address of NATS and the credentials for it.

    url: one or more servers, separated by commas; `tls://` or a tls_ca asks for TLS.
    credentials: a .creds file (JWT). nkey: a file with the seed. user, password: in place of those.
    tls_ca, tls_cert, tls_key: PEM files; cert and key together for mutual TLS.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = DEFAULT_NATS_URL
    credentials: Path | None = None
    nkey: Path | None = None
    user: str | None = None
    password: SecretStr | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], url: str | None = None) -> "BusSettings":
        """Return the settings in `ANTIPHON_NATS_URL`, `ANTIPHON_NATS_CREDENTIALS` and so on; `url` has precedence.

        Raises pydantic.ValidationError, a ValueError.
        """
        prefix = "ANTIPHON_NATS_"
        variables = {name: prefix + name.upper() for name in cls.model_fields}
        given = {name: environment[variable] for name, variable in variables.items() if variable in environment}
        if url:
            given["url"] = url
        return cls.model_validate(given)
