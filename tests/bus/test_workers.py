"""The workers on a bus are listed in the order of the pipeline."""

from pathlib import Path

from antiphon_testing.platform import open_platform
from bus.workers import list_workers
from schemas import subjects


async def test_every_worker_is_listed_and_no_service(tmp_path: Path) -> None:
    async with open_platform(tmp_path) as platform:
        found = await list_workers(platform.bus)
        assert [worker.stage for worker in found] == list(subjects.STAGES)
        assert {worker.id for worker in found} == {worker.id for worker in platform.all_workers}
        assert found[0].url == platform.ingress.url
