"""Put a worker of stt, llm, tts or egress together from its settings."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from bus.connect import Bus
from schemas import subjects
from stages.runtime.provider_health import ProviderHealth, fingerprint
from stages.runtime.providers import Provider, ProviderContext, Providers
from stages.runtime.stage import StageModule
from stages.runtime.stage_host import StageHost
from stages.runtime.worker import CAPACITY, Worker, WorkerRole
from transports.outputs import preload

# Of each stage: one that is not installed here, or has no key here, is passed over.
LAST_RESORTS = {subjects.STT: ("local",), subjects.LLM: ("openai", "local"), subjects.TTS: ("cartesia", "local")}


@dataclass(frozen=True)
class WorkerSettings:
    """How one worker runs.

    stage: one of `subjects.STAGES`. capacity: sessions at once. drain_s: how many seconds a stop waits for sessions;
    None for the default of the stage.
    warm: names of providers to open before the worker is ready; for egress, names of transports.
    providers: the keys, model files and VAD engine that providers may use. last_resorts: names of providers that stand
    behind those of every document; None for those of LAST_RESORTS.
    """

    stage: str
    capacity: int = CAPACITY
    drain_s: float | None = None
    warm: tuple[str, ...] = ()
    providers: ProviderContext = field(default_factory=ProviderContext)
    last_resorts: tuple[str, ...] | None = None


class OpenWorker:
    """A worker and its role: answering claims as a stage host, or as ingress."""

    def __init__(self, worker: Worker, role: WorkerRole, registered: asyncio.Event | None = None) -> None:
        """registered: set when LiveKit gives this worker jobs; None for a worker without rooms."""
        self.worker = worker
        self._role = role
        self._registered = registered

    async def run(self, stop: asyncio.Event) -> None:
        """Take claims until `stop` is set, then drain."""
        await self.worker.run(self._role, stop)

    async def ready(self, registered_within_s: float = 0) -> None:
        """Return when the worker takes claims, and LiveKit gives it jobs or `registered_within_s` have passed."""
        await self.worker.ready.wait()
        if self._registered and registered_within_s:
            try:
                await asyncio.wait_for(self._registered.wait(), registered_within_s)
            except TimeoutError:
                return


@asynccontextmanager
async def open_stage(bus: Bus, settings: WorkerSettings) -> AsyncIterator[OpenWorker]:
    """Open what the sessions of a worker share. Raises ProviderMissing or ProviderError for a provider of `warm`."""
    worker = Worker(bus, settings.stage, settings.capacity, settings.drain_s)
    module = stage_module(settings.stage)
    health = ProviderHealth(worker.id, fingerprint(settings.providers.keys))
    last_resorts = LAST_RESORTS.get(settings.stage, ()) if settings.last_resorts is None else settings.last_resorts
    opening = Providers[Provider](settings.stage, settings.providers, health=health, last_resorts=last_resorts)
    async with health.shared(bus), opening as providers:
        for name in settings.warm:
            await (preload(name) if settings.stage == subjects.EGRESS else providers.get(name))
        async with module.open_worker(providers) as shared:
            yield OpenWorker(worker, StageHost(worker, module, providers, shared))


def stage_module(stage: str) -> StageModule[Provider, object]:
    """Return `stages/<stage>/stage.py`: a worker imports its own stage only, which keeps its start and memory small."""
    # The cast is the loading edge; tests/runtime/test_stage.py holds every module to the Protocol.
    return cast("StageModule[Provider, object]", importlib.import_module(f"stages.{stage}.stage"))
