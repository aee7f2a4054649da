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

BUCKET = "agents"  # of JetStream KV: `agent` or `agent.campaign` -> RuntimeConfig, written by the config service alone
MAX_DOCUMENT_BYTES = 512 * 1024  # encoded; half of what NATS takes, and more than any prompt with 500 facts needs
MAX_SET_BYTES = 1_000_000  # one request to `set`: below the server's 1 MiB, envelope included
MAX_AUTHOR = 64  # characters
PAGE = 500  # agents in one answer to `list`, some 150 bytes each


class GetAgent(msgspec.Struct, frozen=True):
    """Request to `get`, answered with StoredAgent.

    campaign: its overrides instead of the agent's document. version: 0 for the published one.
    """

    agent: str
    campaign: str = ""
    version: int = 0


class StoredAgent(msgspec.Struct, frozen=True):
    """A document and its version; version 0 is built in. A document as its author set it."""

    document: dict[str, Any]
    revision: int


class SetAgents(msgspec.Struct, frozen=True):
    """Request to `set`, answered with AgentsSet: all of them are stored, or none.

    documents: agents. campaigns, numbers: as schemas/campaign.py has them. A key is `agent` for an agent and
    `agent:campaign` for a campaign.
    if_revisions: key -> the version that the writer read, 0 for one that must not be stored yet. If another version is
    published by now, the answer is STALE; a draft is compared with the newest version. A key that is left out is stored
    whatever its version is.
    author: the person or program that saves, for people. draft: save a new version and publish nothing.
    """

    documents: list[dict[str, Any]] = []
    if_revisions: dict[str, int] = {}
    campaigns: list[dict[str, Any]] = []
    numbers: list[dict[str, Any]] = []
    author: str = ""
    draft: bool = False


class AgentsSet(msgspec.Struct, frozen=True):
    """revisions: key -> its new version, or the version that is now published."""

    revisions: dict[str, int]


class PublishVersion(msgspec.Struct, frozen=True):
    """Request to `publish`, answered with AgentsSet: calls run on this version from now on.

    version: 0 for the newest. if_published: the version that must be published until then; None for any.
    """

    agent: str
    campaign: str = ""
    version: int = 0
    if_published: int | None = None


class ListAgents(msgspec.Struct, frozen=True):
    """Request to `list`, answered with AgentPage: agents in the order of their ids, those after the id `after`."""

    after: str = ""


class AgentLine(msgspec.Struct, frozen=True):
    """One agent in a list.

    revision: the published version; 0 is built in, or only drafts. latest: the newest version, published or not.
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
    latest: int = 0


class AgentPage(msgspec.Struct, frozen=True):
    """One page of the list. more: another page follows; ask again after the last id."""

    agents: list[AgentLine]
    more: bool = False


class ListVersions(msgspec.Struct, frozen=True):
    """Request to `versions`, answered with VersionPage, the newest first. before: only versions below this one."""

    agent: str
    campaign: str = ""
    before: int = 0


class VersionLine(msgspec.Struct, frozen=True):
    """One saved version. saved: UTC microseconds."""

    version: int
    author: str
    saved: int
    published: bool


class VersionPage(msgspec.Struct, frozen=True):
    """One page of versions. more: another page follows; ask again before the last version."""

    versions: list[VersionLine]
    more: bool = False


class ListCampaigns(msgspec.Struct, frozen=True):
    """Request to `campaigns`, answered with CampaignPage in the order of (agent, campaign), those after `after`.

    agent: only its campaigns; empty for those of every agent.
    """

    agent: str = ""
    after: tuple[str, str] = ("", "")


class CampaignLine(msgspec.Struct, frozen=True):
    """One campaign. revision: the published version, 0 if there are only drafts. updated: UTC microseconds."""

    agent: str
    campaign: str
    revision: int
    latest: int
    updated: int


class CampaignPage(msgspec.Struct, frozen=True):
    """One page of campaigns. more: another page follows."""

    campaigns: list[CampaignLine]
    more: bool = False


class ListNumbers(msgspec.Struct, frozen=True):
    """Request to `numbers`, answered with NumberPage in the order of the numbers, those after the number `after`."""

    after: str = ""


class NumberLine(msgspec.Struct, frozen=True):
    """One phone number and who answers it. campaign: empty for the agent without a campaign."""

    number: str
    agent: str
    campaign: str


class NumberPage(msgspec.Struct, frozen=True):
    """One page of numbers. more: another page follows."""

    numbers: list[NumberLine]
    more: bool = False


class GetRuntime(msgspec.Struct, frozen=True):
    """Request to `runtime`, answered with RuntimeConfig: what the calls of an agent, or of a campaign of it, run on."""

    agent: str
    campaign: str = ""


class RuntimeConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """All layers merged. revision, campaign_revision: the published versions; 0 is built in, or no campaign."""

    document: dict[str, Any]
    revision: int
    campaign_revision: int = 0


class ExplainRuntime(msgspec.Struct, frozen=True):
    """Request to `explain`, answered with Explained."""

    agent: str
    campaign: str = ""


class FieldOrigin(msgspec.Struct, frozen=True):
    """A field of a runtime config. path: such as `turns.min_delay_ms`. origin: the layer that its value comes from."""

    path: str
    value: Any
    origin: str


class Explained(msgspec.Struct, frozen=True):
    """Where each field of a runtime config comes from, in the order of the paths."""

    fields: list[FieldOrigin]


class AgentChanged(msgspec.Struct, frozen=True):
    """Broadcast on `va1.config.changed` after an agent was stored: every process drops that agent from its memory."""

    agent: str
