"""What is asked of the config service, in JSON: `nats req va1.config.get '{"agent": "receptionist"}'` works by hand.

An error is one of the NATS micro convention, with one of the codes below.
"""

from typing import Any

import msgspec

BAD_REQUEST = "400"  # what was sent is wrong
UNKNOWN = "404"  # there is no such agent
BAD_STORED = "422"  # what is stored is wrong
AWAY = "503"  # the database does not answer

BUCKET = "agents"  # of JetStream KV: id -> StoredAgent, written by the service alone
MAX_DOCUMENT_BYTES = 512 * 1024  # encoded; half of what NATS takes, and more than any prompt with 500 facts needs
MAX_SET_BYTES = 1_000_000  # one request to `set`: below the server's 1 MiB, envelope included
PAGE = 500  # agents in one answer to `list`, some 150 bytes each


class GetAgent(msgspec.Struct, frozen=True):
    """-> `get`, answered with StoredAgent."""

    agent: str


class StoredAgent(msgspec.Struct, frozen=True):
    """A document and how often it was set; revision 0 is built in. This is also the value in the KV bucket `agents`."""

    document: dict[str, Any]
    revision: int


class SetAgents(msgspec.Struct, frozen=True):
    """-> `set`, answered with AgentsSet: all of them are stored, or none."""

    documents: list[dict[str, Any]]


class AgentsSet(msgspec.Struct, frozen=True):
    """id -> new revision."""

    revisions: dict[str, int]


class ListAgents(msgspec.Struct, frozen=True):
    """-> `list`, answered with AgentPage: in the order of their ids, those after `after`."""

    after: str = ""


class AgentLine(msgspec.Struct, frozen=True):
    """One agent in a list.

    updated: UTC microseconds. problem: why its stored document is not valid, or empty. name: what people see; the id
    where the document has none.
    """

    id: str
    revision: int
    updated: int = 0
    stt: str = ""
    llm: str = ""
    tts: str = ""
    facts: int = 0
    problem: str = ""
    name: str = ""
    description: str = ""


class AgentPage(msgspec.Struct, frozen=True):
    """more: ask again after the last id."""

    agents: list[AgentLine]
    more: bool = False


class AgentChanged(msgspec.Struct, frozen=True):
    """Said to everybody on `va1.config.changed` when the cache holds something new: forget what you know of it."""

    agent: str
