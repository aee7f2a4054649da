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
from config_service.keys import Key, cache_key, key_text
from schemas import subjects
from schemas.agent import AgentDocument
from schemas.config import (
    BUCKET,
    AgentChanged,
    GetRuntime,
    RuntimeConfig,
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
        self._memory: OrderedDict[Key, _Remembered] = OrderedDict()
        self._bucket: kv.Bucket | None = None
        self._opening = asyncio.Lock()
        self._changes = 0  # AgentChanged messages; an answer that one of them overtook is not remembered
        self._logged: set[Key] = set()  # agents that were not read, logged once each until they are

    async def get(self, agent: str, campaign: str = "", *, within_s: float = WITHIN_S) -> Runtime:
        """Return the document that a session with `agent` runs on, within `within_s` seconds.

        campaign: of the agent, whose overrides are in the document; empty for none.

        Raises UnknownAgent; AgentUnavailable if this process never read the agent and cannot read it now, so that no
        caller reaches another agent than the one that was asked for; BadId.
        """
        key = Key(check_id(agent, "agent id"), check_id(campaign, "campaign id") if campaign else "")
        known = self._memory.get(key)
        if known and known.until > time.monotonic() and known.reconnects == self._bus.reconnects:
            self._memory.move_to_end(key)
            return known.runtime._replace(source="memory")
        try:
            async with asyncio.timeout(within_s):
                await self._listen()
                changes, reconnects = self._changes, self._bus.reconnects
                found = await self._cached(key, within_s * CACHE_WITHIN) or await self._served(key, within_s)
        except UnknownAgent:
            self._memory.pop(key, None)
            raise
        except (BusError, BadDocument, TimeoutError) as error:
            return self._last_known(key, error)
        self._logged.discard(key)
        until = time.monotonic() + FRESH_S if changes == self._changes else 0.0
        self._memory[key] = _Remembered(found, until, reconnects)
        self._memory.move_to_end(key)
        if len(self._memory) > REMEMBERED:
            self._memory.popitem(last=False)
        return found

    async def _cached(self, key: Key, within_s: float) -> Runtime | None:
        assert self._bucket
        try:
            async with asyncio.timeout(within_s):
                value = await self._bucket.get(cache_key(key))
            return _runtime(value, "cache") if value else None
        except (BusError, BadDocument, TimeoutError):
            return None

    async def _served(self, key: Key, within_s: float) -> Runtime:
        return _runtime(await self.ask("runtime", GetRuntime(key.agent, key.campaign), within_s), "service")

    def _last_known(self, key: Key, error: Exception) -> Runtime:
        """Return the document that this process read last, or the built-in one for its own id.

        Raises AgentUnavailable for an agent that this process never read.
        """
        known = self._memory.get(key)
        runtime: Runtime | None = None
        consequence = "calls are refused"
        if known:
            runtime, consequence = known.runtime._replace(source="stale"), "calls run on its last known document"
        elif key == (BUILT_IN, ""):
            runtime, consequence = Runtime(documents.DEFAULT, 0, "default"), "calls run on the built-in document"
        if key not in self._logged and len(self._logged) < REMEMBERED:  # callers name agents: the set has a bound
            self._logged.add(key)
            cause = str(error) or "the config service does not answer in time"
            log.warning(
                "cannot read agent", agent=key.agent, campaign=key.campaign, consequence=consequence, cause=cause
            )
        if runtime is None:
            raise AgentUnavailable(
                f"cannot open agent {key_text(key)}: its document is unavailable now. Try again in a moment."
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
        for key, known in self._memory.items():
            if key.agent == agent:  # kept for when the service is unavailable, but read again before the next call
                self._memory[key] = known._replace(until=0.0)


def _runtime(answer: bytes, source: Literal["cache", "service"]) -> Runtime:
    try:
        stored = msgspec.json.decode(answer, type=RuntimeConfig)
    except msgspec.MsgspecError as error:
        raise BadDocument(f"the answer of the {source} is not an agent: {error}") from None
    return Runtime(documents.parse(stored.document), stored.revision, source)
