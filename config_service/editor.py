"""Read and write agents, campaigns and phone numbers through the config service, for people and programs that edit."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from bus.connect import Bus
from bus.errors import ServiceError
from config_service import documents
from config_service.documents import BadDocument, StaleRevision
from config_service.keys import Key
from config_service.merge import Change, diff
from schemas import subjects
from schemas.agent import AgentDocument
from schemas.campaign import CampaignDocument, PhoneNumber
from schemas.config import (
    MAX_SET_BYTES,
    STALE,
    UNKNOWN,
    AgentLine,
    AgentPage,
    AgentsSet,
    CampaignLine,
    CampaignPage,
    Explained,
    ExplainRuntime,
    FieldOrigin,
    GetAgent,
    ListAgents,
    ListCampaigns,
    ListNumbers,
    ListVersions,
    NumberLine,
    NumberPage,
    PublishVersion,
    SetAgents,
    StoredAgent,
    VersionLine,
    VersionPage,
)
from schemas.subjects import check_id

EDIT_WITHIN_S = 5.0  # a person waits for a command

T = TypeVar("T")


class UnknownAgent(Exception):
    """The config service answers that there is no such agent, campaign or version."""


class ConfigEditor:
    """What the config service stores. Every method raises BusError if it does not answer."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def stored(self, agent: str, campaign: str = "", version: int = 0) -> StoredAgent:
        """Return an agent, or the overrides of a campaign, as the service has it. Raises UnknownAgent or BadId.

        version: 0 for the published one.
        """
        campaign = check_id(campaign, "campaign id") if campaign else ""
        return await self._answer("get", GetAgent(check_id(agent, "agent id"), campaign, version), StoredAgent)

    async def set(
        self,
        agents: Sequence[AgentDocument],
        if_revisions: Mapping[str, int] | None = None,
        *,
        campaigns: Sequence[CampaignDocument] = (),
        numbers: Sequence[PhoneNumber] = (),
        author: str = "",
        draft: bool = False,
    ) -> dict[str, int]:
        """Store all or nothing; returns `agent` or `agent:campaign` -> new version.

        if_revisions: by the same keys, the version that the writer read; 0 for what must not be stored yet. draft: save
        without publishing. Raises StaleRevision if another version is there by now, BadDocument, UnknownAgent for a
        campaign or number of an agent that is not stored.
        """
        asked = SetAgents(
            [documents.plain(agent) for agent in agents],
            dict(if_revisions or {}),
            [campaign.model_dump() for campaign in campaigns],
            [number.model_dump() for number in numbers],
            author,
            draft,
        )
        size = len(msgspec.json.encode(asked))
        if size > MAX_SET_BYTES:
            raise BadDocument(f"{size} bytes in one go are more than {MAX_SET_BYTES}: set fewer agents at a time")
        return (await self._answer("set", asked, AgentsSet)).revisions

    async def publish(self, key: Key, version: int = 0, if_published: int | None = None) -> int:
        """Let calls run on a version, 0 for the newest; returns it. Raises UnknownAgent, StaleRevision, BadDocument."""
        asked = PublishVersion(key.agent, key.campaign, version, if_published)
        (published,) = (await self._answer("publish", asked, AgentsSet)).revisions.values()
        return published

    async def versions(self, key: Key) -> list[VersionLine]:
        """Return every saved version, the newest first. Raises UnknownAgent."""
        lines: list[VersionLine] = []
        more = True
        while more:
            asked = ListVersions(key.agent, key.campaign, lines[-1].version if lines else 0)
            page = await self._answer("versions", asked, VersionPage)
            lines += page.versions
            more = page.more
        return lines

    async def campaigns(self, agent: str = "") -> list[CampaignLine]:
        """Return the campaigns of one agent, or of all, in their order."""
        lines: list[CampaignLine] = []
        more = True
        while more:
            after = (lines[-1].agent, lines[-1].campaign) if lines else ("", "")
            page = await self._answer("campaigns", ListCampaigns(agent, after), CampaignPage)
            lines += page.campaigns
            more = page.more
        return lines

    async def numbers(self) -> list[NumberLine]:
        """Return every phone number in their order."""
        lines: list[NumberLine] = []
        more = True
        while more:
            page = await self._answer("numbers", ListNumbers(lines[-1].number if lines else ""), NumberPage)
            lines += page.numbers
            more = page.more
        return lines

    async def explain(self, key: Key) -> list[FieldOrigin]:
        """Return each field that calls run on, with its value and the layer it comes from. Raises UnknownAgent."""
        return (await self._answer("explain", ExplainRuntime(key.agent, key.campaign), Explained)).fields

    async def ask(self, verb: str, question: msgspec.Struct, within_s: float = EDIT_WITHIN_S) -> bytes:
        """Return the service's answer to one request. Raises UnknownAgent, StaleRevision or BusError."""
        try:
            return await self._bus.request(subjects.config(verb), msgspec.json.encode(question), within_s)
        except ServiceError as refused:
            if refused.code == UNKNOWN:
                raise UnknownAgent(str(refused)) from None
            if refused.code == STALE:
                raise StaleRevision(str(refused)) from None
            raise

    async def _answer(self, verb: str, question: msgspec.Struct, kind: type[T]) -> T:
        return msgspec.json.decode(await self.ask(verb, question), type=kind)

    async def list(self) -> list[AgentLine]:
        """Return every agent in the order of ids, the built-in one included."""
        lines: list[AgentLine] = []
        more = True
        while more:
            page = await self._answer("list", ListAgents(lines[-1].id if lines else ""), AgentPage)
            lines += page.agents
            more = page.more
        if all(line.id != documents.DEFAULT_ID for line in lines):
            built_in = documents.DEFAULT
            choices = (built_in.stt.names, built_in.llm.names, built_in.tts.names)
            lines.append(AgentLine(built_in.id, 0, 0, *choices, name=built_in.id))
        return sorted(lines, key=lambda line: line.id)


async def exported(editor: ConfigEditor, agents: Sequence[str]) -> list[dict[str, Any]]:
    """Return the published agents, then their campaigns, then their numbers, as documents that `import` reads.

    agents: only these; empty for all. Raises UnknownAgent or BusError.
    """
    chosen = list(agents) or [line.id for line in await editor.list() if line.revision]
    found = [(await editor.stored(agent)).document for agent in chosen]
    for line in await editor.campaigns():
        if line.agent in chosen and line.revision:
            stored = await editor.stored(line.agent, line.campaign)
            found.append({"agent": line.agent, "campaign": line.campaign, "overrides": stored.document})
    numbers = [line for line in await editor.numbers() if line.agent in chosen]
    found += [{"number": line.number, "agent": line.agent, "campaign": line.campaign} for line in numbers]
    return found


async def compare(editor: ConfigEditor, key: Key, before: int, after: int) -> list[Change]:
    """Return the fields in which two versions differ. before: 0 for the published one. after: 0 for the newest one."""
    newest = after or (await editor.versions(key))[0].version
    stored = [(await editor.stored(*key, version)).document for version in (before, newest)]
    return diff(*stored)
