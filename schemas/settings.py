"""Settings that a process is given at its start. Parsed from a mapping: only `cli` reads the environment."""

from collections.abc import Mapping

from pydantic import SecretStr


def provider_keys(environment: Mapping[str, str]) -> dict[str, SecretStr]:
    """The variables that providers may read: `*_API_KEY`, `*_BASE_URL` and the AWS ones."""
    return {
        name: SecretStr(value)
        for name, value in environment.items()
        if name.endswith(("_API_KEY", "_BASE_URL")) or name.startswith("AWS_")
    }
