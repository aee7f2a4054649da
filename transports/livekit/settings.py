"""Settings of the LiveKit project whose rooms are served. Parsed from a mapping: only `cli` reads the environment."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, SecretStr

VARIABLE_PREFIX = "ANTIPHON_LIVEKIT_"
LIVEKIT_VARIABLES = {name: f"{VARIABLE_PREFIX}{name.upper()}" for name in ("url", "key", "secret")}


class LiveKitSettings(BaseModel):
    """URL of LiveKit, and key and secret of a project there. The secret admits its holder to every room."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(pattern="^(ws|http)s?://.")
    key: str = Field(min_length=1)
    secret: SecretStr = Field(min_length=1)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], url: str | None = None) -> "LiveKitSettings | None":
        """Return the settings in `ANTIPHON_LIVEKIT_URL`, `_KEY` and `_SECRET`; None without a URL.

        url: has precedence over the variable. Raises pydantic.ValidationError, a ValueError.
        """
        given = {name: environment.get(variable, "") for name, variable in LIVEKIT_VARIABLES.items()}
        return cls.model_validate({**given, "url": url or given["url"]}) if url or given["url"] else None

    def to_environment(self) -> dict[str, str]:
        """Return the variables for a child process that serves rooms."""
        values = {"url": self.url, "key": self.key, "secret": self.secret.get_secret_value()}
        return {LIVEKIT_VARIABLES[name]: value for name, value in values.items()}
