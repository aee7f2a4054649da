"""What a process is told at its start. Parsed from a mapping: only `cli` reads the environment."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

LIVEKIT_VARIABLES = {name: f"ANTIPHON_LIVEKIT_{name.upper()}" for name in ("url", "key", "secret")}
DEFAULT_NATS_URL = "nats://127.0.0.1:4222"


class BusSettings(BaseModel):
    """Where NATS is and how to be let in.

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
        """From `ANTIPHON_NATS_URL`, `ANTIPHON_NATS_CREDENTIALS` and so on; `url` wins over the variable."""
        prefix = "ANTIPHON_NATS_"
        variables = {name: prefix + name.upper() for name in cls.model_fields}
        told = {name: environment[variable] for name, variable in variables.items() if variable in environment}
        if url:
            told["url"] = url
        return cls.model_validate(told)


class LiveKitSettings(BaseModel):
    """Where LiveKit is, and key and secret of a project there: who has them may enter and open every room of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(pattern="^(ws|http)s?://.")
    key: str = Field(min_length=1)
    secret: SecretStr = Field(min_length=1)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], url: str | None = None) -> "LiveKitSettings | None":
        """From `ANTIPHON_LIVEKIT_URL`, `_KEY` and `_SECRET`; `url` wins over the variable. None without a URL."""
        told = {name: environment.get(variable, "") for name, variable in LIVEKIT_VARIABLES.items()}
        return cls.model_validate({**told, "url": url or told["url"]}) if url or told["url"] else None

    def to_environment(self) -> dict[str, str]:
        """For the one child process that needs it."""
        told = {"url": self.url, "key": self.key, "secret": self.secret.get_secret_value()}
        return {LIVEKIT_VARIABLES[name]: value for name, value in told.items()}


def provider_keys(environment: Mapping[str, str]) -> dict[str, SecretStr]:
    """The variables that providers may read: `*_API_KEY`, `*_BASE_URL` and the AWS ones."""
    return {
        name: SecretStr(value)
        for name, value in environment.items()
        if name.endswith(("_API_KEY", "_BASE_URL")) or name.startswith("AWS_")
    }
