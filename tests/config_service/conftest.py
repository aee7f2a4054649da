"""A real nats-server, and databases of both kinds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon_testing.bus import bus, nats
from tests.kit import postgres

__all__ = ["bus", "nats"]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a running PostgreSQL."""
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres.folder() as folder, postgres.serve(folder) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'antiphon.db'}"
    return postgres.new_database(request.getfixturevalue("postgres_server"), tmp_path.name)
