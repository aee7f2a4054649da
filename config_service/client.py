"""Read and write agents: from memory, else the shared cache, else the config service, else the last known document.

A document in memory is fresh for five minutes. It is read again earlier if the service publishes a change, or if the
connection to NATS was lost and such a message may have been missed (docs/adr/0010-config-cache.md).
"""

import asyncio
import time
from collections import OrderedDict
from typing import Literal, NamedTuple

import msgspec
import structlog

from bus import kv
from bus.connect import Bus
from bus.errors import BusError
from bus.message import Message
from config_service import documents
from config_service.documents import BadDocument
from config_service.editor import ConfigEditor, UnknownAgent
from schemas import subjects
from schemas.agent import AgentDocument
from schemas.config import (
    BUCKET,
    AgentChanged,
    GetAgent,
    StoredAgent,
)
from schemas.subjects import check_id

BUILT_IN = documents.DEFAULT_ID  # every process has its document
REMEMBERED = 1_000  # agents; some 20 MB if every one has a long prompt
FRESH_S = 300.0  # bounds how long a lost change goes unseen
WITHIN_S = 0.5  # a caller waits for this, in silence
CACHE_WITHIN = 0.5  # share of the time: a cache that hangs leaves as much for the service

__all__ = ["BUILT_IN", "AgentUnavailable", "ConfigClient", "Runtime", "UnknownAgent"]

log = structlog.get_logger("config client")


class AgentUnavailable(Exception):
    """Neither cache nor config service answers, and this process has not read the agent before.

    The message is for callers: the cause, which may name a database, is in the log alone.
    """


class Runtime(NamedTuple):
    """The document that a session runs on.

    source: with `stale` (the last known document) and `default` (the built-in one), neither cache nor service answered.
    """

    document: AgentDocument
    revision: int
    source: Literal["memory", "cache", "service", "stale", "default"]


class _Remembered(NamedTuple):
    runtime: Runtime
    until: float  # fresh, on the monotonic clock
    reconnects: int  # of the bus when it was read


class ConfigClient(ConfigEditor):
    """The agents as one process sees them. It subscribes to changes when it is first asked."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self._memory: OrderedDict[str, _Remembered] = OrderedDict()
        self._bucket: kv.Bucket | None = None
        self._opening = asyncio.Lock()
        self._changes = 0  # AgentChanged messages; an answer that one of them overtook is not remembered
        self._logged: set[str] = set()  # agents that were not read, logged once each until they are

    async def get(self, agent: str, within_s: float = WITHIN_S) -> Runtime:
        """Return the document that a session with `agent` runs on, within `within_s` seconds.

        Raises UnknownAgent; AgentUnavailable if this process never read the agent and cannot read it now, so that no
        caller reaches another agent than the one that was asked for; BadId.
        """
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
            return self._last_known(agent, error)
        self._logged.discard(agent)
        until = time.monotonic() + FRESH_S if changes == self._changes else 0.0
        self._memory[agent] = _Remembered(found, until, reconnects)
        self._memory.move_to_end(agent)
        if len(self._memory) > REMEMBERED:
            self._memory.popitem(last=False)
        return found

    async def _cached(self, agent: str, within_s: float) -> Runtime | None:
        assert self._bucket
        try:
            async with asyncio.timeout(within_s):
                value = await self._bucket.get(agent)
            return _runtime(value, "cache") if value else None
        except (BusError, BadDocument, TimeoutError):
            return None

    async def _served(self, agent: str, within_s: float) -> Runtime:
        return _runtime(await self.ask("get", GetAgent(agent), within_s), "service")

    def _last_known(self, agent: str, error: Exception) -> Runtime:
        """Return the document that this process read last, or the built-in one for its own id.

        Raises AgentUnavailable for an agent that this process never read.
        """
        known = self._memory.get(agent)
        runtime: Runtime | None = None
        consequence = "calls are refused"
        if known:
            runtime, consequence = known.runtime._replace(source="stale"), "calls run on its last known document"
        elif agent == BUILT_IN:
            runtime, consequence = Runtime(documents.DEFAULT, 0, "default"), "calls run on the built-in document"
        if agent not in self._logged and len(self._logged) < REMEMBERED:  # callers name agents: the set has a bound
            self._logged.add(agent)
            cause = str(error) or "the config service does not answer in time"
            log.warning("cannot read agent", agent=agent, consequence=consequence, cause=cause)
        if runtime is None:
            raise AgentUnavailable(
                f"cannot open agent {agent}: its document is unavailable now. Try again in a moment."
            )
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
        if known:  # kept for when the service is unavailable, but read again before the next call
            self._memory[agent] = known._replace(until=0.0)


def _runtime(answer: bytes, source: Literal["cache", "service"]) -> Runtime:
    try:
        stored = msgspec.json.decode(answer, type=StoredAgent)
    except msgspec.MsgspecError as error:
        raise BadDocument(f"the answer of the {source} is not an agent: {error}") from None
    return Runtime(documents.parse(stored.document), stored.revision, source)
