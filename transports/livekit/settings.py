"""What a process is told at its start. Parsed from a mapping: only `cli` reads the environment."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, SecretStr

LIVEKIT_VARIABLES = {name: f"ANTIPHON_LIVEKIT_{name.upper()}" for name in ("url", "key", "secret")}


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
