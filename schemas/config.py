"""Requests to the config service and its answers, in JSON: `nats req va1.config.get '{"agent": "receptionist"}'` works.

An error follows the convention of NATS micro services, with one of the codes below.
"""

from typing import Any

import msgspec

BAD_REQUEST = "400"  # the request is wrong
UNKNOWN = "404"  # there is no such agent
STALE = "409"  # the agent is at another revision than the writer read
BAD_STORED = "422"  # the stored document is not valid
UNAVAILABLE = "503"  # the database does not answer

BUCKET = "agents"  # of JetStream KV: id -> StoredAgent, written by the config service alone
MAX_DOCUMENT_BYTES = 512 * 1024  # encoded; half of what NATS takes, and more than any prompt with 500 facts needs
MAX_SET_BYTES = 1_000_000  # one request to `set`: below the server's 1 MiB, envelope included
PAGE = 500  # agents in one answer to `list`, some 150 bytes each


class GetAgent(msgspec.Struct, frozen=True):
    """Request to `get`, answered with StoredAgent."""

    agent: str


class StoredAgent(msgspec.Struct, frozen=True):
    """A document and how often it was set; revision 0 is built in. The KV bucket `agents` holds this as well."""

    document: dict[str, Any]
    revision: int


class SetAgents(msgspec.Struct, frozen=True):
    """Request to `set`, answered with AgentsSet: all of them are stored, or none.

    if_revisions: id -> the revision that the writer read, 0 for an agent that must not be stored yet. If an agent is at
    another revision, the answer is STALE. An id that is left out is stored whatever its revision is.
    """

    documents: list[dict[str, Any]]
    if_revisions: dict[str, int] = {}


class AgentsSet(msgspec.Struct, frozen=True):
    """revisions: id -> its new revision."""

    revisions: dict[str, int]


class ListAgents(msgspec.Struct, frozen=True):
    """Request to `list`, answered with AgentPage: agents in the order of their ids, those after the id `after`."""

    after: str = ""


class AgentLine(msgspec.Struct, frozen=True):
    """One agent in a list.

    updated: UTC microseconds. stt, llm, tts: the names of its providers, such as "openai/gpt-5.4-mini > local".
    problem: why its stored document is not valid, or empty. name: what people see; the id where the document has none.
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
    """One page of the list. more: another page follows; ask again after the last id."""

    agents: list[AgentLine]
    more: bool = False


class AgentChanged(msgspec.Struct, frozen=True):
    """Broadcast on `va1.config.changed` after an agent was stored: every process drops that agent from its memory."""

    agent: str
