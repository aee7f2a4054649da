"""The only door to agents: memory, then the shared cache, then the service, then what was known last.

What is in memory is fresh for five minutes, unless the service says that it changed, or the bus was away meanwhile and
such a word may have been lost (docs/adr/0010-config-cache.md).
"""

import asyncio
import logging
import time
from collections import OrderedDict
from typing import Literal, NamedTuple

import msgspec

from bus import kv
from bus.connect import Bus
from bus.errors import BusError, ServiceError
from bus.message import Message
from config_service import documents
from config_service.documents import BadDocument
from schemas import subjects
from schemas.agent import AgentDocument
from schemas.config import (
    BUCKET,
    MAX_SET_BYTES,
    UNKNOWN,
    AgentChanged,
    AgentLine,
    AgentPage,
    AgentsSet,
    GetAgent,
    ListAgents,
    SetAgents,
    StoredAgent,
)
from schemas.subjects import check_id

BUILT_IN = documents.DEFAULT_ID  # the agent that is always there
REMEMBERED = 1_000  # agents; some 20 MB if every one has a long prompt
FRESH_S = 300.0
WITHIN_S = 0.5
CACHE_WITHIN = 0.5  # of the time there is: a cache that hangs leaves as much for the service
EDIT_WITHIN_S = 5.0  # a person waits

log = logging.getLogger(__name__)


class UnknownAgent(Exception):
    """The service is there and has no such agent."""


class Runtime(NamedTuple):
    """What a call runs on. source: `stale` and `default` mean that neither cache nor service answered."""

    document: AgentDocument
    revision: int
    source: Literal["memory", "cache", "service", "stale", "default"]


class _Remembered(NamedTuple):
    runtime: Runtime
    until: float  # fresh, on the monotonic clock
    reconnects: int  # of the bus when it was read


class ConfigClient:
    """One for a process. It needs no opening: it listens for changes from its first question on."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._memory: OrderedDict[str, _Remembered] = OrderedDict()
        self._bucket: kv.Bucket | None = None
        self._opening = asyncio.Lock()
        self._changes = 0  # counts what the service said; an answer that crossed such a word is not remembered
        self._away: set[str] = set()  # agents that were answered without cache and service, said once each

    async def get(self, agent: str, within_s: float = WITHIN_S) -> Runtime:
        """What `agent` runs on, in time, whatever is away. Raises UnknownAgent, and BadId for what is no id."""
        known = self._memory.get(check_id(agent, "agent id"))
        if known and known.until > time.monotonic() and known.reconnects == self._bus.reconnects:
            self._memory.move_to_end(agent)
            return known.runtime._replace(source="memory")
        try:
            async with asyncio.timeout(within_s):
                await self._listen()
                changes, reconnects = self._changes, self._bus.reconnects
                found = await self._cached(agent, within_s * CACHE_WITHIN) or await self._served(agent, within_s)
        except UnknownAgent:
            self._memory.pop(agent, None)
            raise
        except (BusError, BadDocument, TimeoutError) as error:
            return self._known_last(agent, error)
        self._away.discard(agent)
        until = time.monotonic() + FRESH_S if changes == self._changes else 0.0
        self._memory[agent] = _Remembered(found, until, reconnects)
        self._memory.move_to_end(agent)
        if len(self._memory) > REMEMBERED:
            self._memory.popitem(last=False)
        return found

    async def stored(self, agent: str) -> StoredAgent:
        """What the service itself has. Raises UnknownAgent, ServiceError or BusError."""
        try:
            answer = await self._ask("get", GetAgent(check_id(agent, "agent id")))
        except ServiceError as refused:
            if refused.code == UNKNOWN:
                raise UnknownAgent(str(refused)) from None
            raise
        return msgspec.json.decode(answer, type=StoredAgent)

    async def set(self, agents: list[AgentDocument]) -> dict[str, int]:
        """Store all or none; returns their revisions. Raises BadDocument, ServiceError or BusError."""
        asked = SetAgents([documents.plain(agent) for agent in agents])
        size = len(msgspec.json.encode(asked))
        if size > MAX_SET_BYTES:
            raise BadDocument(f"{size} bytes in one go are more than {MAX_SET_BYTES}: set fewer agents at a time")
        return msgspec.json.decode(await self._ask("set", asked), type=AgentsSet).revisions

    async def list(self) -> list[AgentLine]:
        """Every agent, the built-in one included. Raises ServiceError or BusError."""
        lines: list[AgentLine] = []
        more = True
        while more:
            asked = ListAgents(lines[-1].id if lines else "")
            page = msgspec.json.decode(await self._ask("list", asked), type=AgentPage)
            lines += page.agents
            more = page.more
        if all(line.id != documents.DEFAULT_ID for line in lines):
            built_in = documents.DEFAULT
            choices = (built_in.stt.provider, built_in.llm.provider, built_in.tts.provider)
            lines.append(AgentLine(built_in.id, 0, 0, *choices))
        return sorted(lines, key=lambda line: line.id)

    async def _ask(self, verb: str, question: msgspec.Struct, within_s: float = EDIT_WITHIN_S) -> bytes:
        return await self._bus.request(subjects.config(verb), msgspec.json.encode(question), within_s)

    async def _cached(self, agent: str, within_s: float) -> Runtime | None:
        assert self._bucket
        try:
            async with asyncio.timeout(within_s):
                value = await self._bucket.get(agent)
            return _runtime(value, "cache") if value else None
        except (BusError, BadDocument, TimeoutError):
            return None

    async def _served(self, agent: str, within_s: float) -> Runtime:
        try:
            return _runtime(await self._ask("get", GetAgent(agent), within_s), "service")
        except ServiceError as refused:
            if refused.code == UNKNOWN:
                raise UnknownAgent(str(refused)) from None
            raise

    def _known_last(self, agent: str, error: Exception) -> Runtime:
        known = self._memory.get(agent)
        if known:
            runtime = known.runtime._replace(source="stale")
        else:
            runtime = Runtime(documents.DEFAULT.model_copy(update={"id": agent}), 0, "default")
        if agent not in self._away:
            self._away.add(agent)
            what = "its last known document" if known else "the default document"
            log.warning("agent %s runs on %s: %s", agent, what, str(error) or "no answer of the config service")
        return runtime

    async def _listen(self) -> None:
        async with self._opening:
            if self._bucket is None:
                await self._bus.subscribe(subjects.config("changed"), self._changed)
                self._bucket = await kv.bucket(self._bus, BUCKET)

    def _changed(self, message: Message) -> None:
        self._changes += 1
        agent = msgspec.json.decode(message.data, type=AgentChanged).agent
        known = self._memory.get(agent)
        if known:  # kept, for when nobody answers, but asked for again
            self._memory[agent] = known._replace(until=0.0)


def _runtime(answer: bytes, source: Literal["cache", "service"]) -> Runtime:
    try:
        stored = msgspec.json.decode(answer, type=StoredAgent)
    except msgspec.MsgspecError as error:
        raise BadDocument(f"what the {source} answered is not an agent: {error}") from None
    return Runtime(documents.parse(stored.document), stored.revision, source)
