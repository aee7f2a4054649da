"""The workers on the bus: what each answers about itself and its sessions."""

import msgspec

from bus.connect import Bus
from bus.services import everyone
from schemas import subjects
from schemas.control import WorkerStatus


async def list_workers(bus: Bus) -> list[WorkerStatus]:
    """Return the status of every worker that answers within a second, in the order of the pipeline."""
    found = [
        msgspec.convert(service.endpoints[0]["data"], WorkerStatus)
        for service in await everyone(bus)
        if service.name in subjects.STAGES and service.endpoints
    ]
    return sorted(found, key=lambda worker: (subjects.STAGES.index(worker.stage), worker.id))
