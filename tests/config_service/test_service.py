"""Service and client together, over a real server: what is set is seen, and what is away is survived."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from antiphon_testing.bus import WITHIN_S, until
from bus import kv, server, services
from bus.connect import Bus, connect
from bus.errors import ServiceError
from bus.message import Message
from bus.settings import BusSettings
from config_service import documents
from config_service.client import AgentUnavailable, ConfigClient, UnknownAgent
from config_service.documents import BadDocument, StaleRevision
from config_service.keys import Key
from config_service.service import open_service
from config_service.store import open_store
from schemas import subjects
from schemas.agent import AgentDocument
from schemas.campaign import CampaignDocument
from schemas.config import BUCKET, UNAVAILABLE, StoredAgent
from schemas.subjects import BadId


def agent(name: str, prompt: str = "Be kind.") -> AgentDocument:
    return AgentDocument(id=name, prompt=prompt)


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'antiphon.db'}"


async def cached(bus: Bus, name: str, wanted: Callable[[bytes | None], bool]) -> None:
    """Return when the shared cache holds what is wanted."""
    bucket = await kv.bucket(bus, BUCKET, create=True)
    async with asyncio.timeout(WITHIN_S):
        while not wanted(await bucket.get(name)):
            await asyncio.sleep(0.02)


async def test_what_is_set_is_what_the_next_call_runs_on(bus: Bus, database: str) -> None:
    async with open_service(bus, database):
        client = ConfigClient(bus)
        for revision in range(1, 6):  # the second and later ones are in memory when they change
            assert await client.set([agent("desk", f"prompt {revision}")]) == {"desk": revision}
            runtime = await client.get("desk")
            assert (runtime.document.prompt, runtime.revision) == (f"prompt {revision}", revision)


async def test_a_change_reaches_the_memory_of_every_process(bus: Bus, nats: str, database: str) -> None:
    async with open_service(bus, database), connect(BusSettings(url=nats)) as elsewhere:
        here, there = ConfigClient(bus), ConfigClient(elsewhere)
        await here.set([agent("desk", "old")])
        assert (await there.get("desk")).document.prompt == "old"
        assert (await there.get("desk")).source == "memory"
        await here.set([agent("desk", "new")])
        async with asyncio.timeout(WITHIN_S):
            while (await there.get("desk")).document.prompt != "new":
                await asyncio.sleep(0)


async def test_unknown_is_not_unavailable(bus: Bus, database: str) -> None:
    client = ConfigClient(bus)
    with pytest.raises(AgentUnavailable, match="cannot open agent nobody"):
        await client.get("nobody")  # no service: whether there is such an agent is not known
    async with open_service(bus, database):
        with pytest.raises(UnknownAgent, match="no agent 'nobody'"):
            await client.get("nobody")
        with pytest.raises(BadId):
            await client.get("no.body")


async def test_there_is_always_a_default_agent_until_it_is_set(bus: Bus, database: str) -> None:
    async with open_service(bus, database):
        client = ConfigClient(bus)
        built_in = await client.get("default")
        assert (built_in.document, built_in.revision, built_in.source) == (documents.DEFAULT, 0, "service")
        assert [line.id for line in await client.list()] == ["default"]
        await client.set([agent("default", "Our own.")])
        assert (await client.get("default")).document.prompt == "Our own."
        assert [line.revision for line in await client.list()] == [1]


async def test_without_the_service_a_new_process_reads_the_shared_cache(bus: Bus, database: str) -> None:
    async with open_service(bus, database):
        await ConfigClient(bus).set([agent("desk")])
        await cached(bus, "desk", lambda value: value is not None)
    runtime = await ConfigClient(bus).get("desk")
    assert (runtime.document, runtime.source) == (agent("desk"), "cache")


async def test_without_cache_and_service_the_last_known_document_answers_and_a_stranger_is_refused(
    bus: Bus, database: str
) -> None:
    client = ConfigClient(bus)
    async with open_service(bus, database):
        await client.set([agent("desk")])
        await client.get("desk")
        await cached(bus, "desk", lambda value: value is not None)
    await (await kv.bucket(bus, BUCKET)).delete("desk")
    await other_change(bus, "desk")
    with capture_logs() as logged:
        for _ in range(3):
            assert (await client.get("desk"))[::2] == (agent("desk"), "stale")
            with pytest.raises(AgentUnavailable, match="cannot open agent stranger"):  # and no other in its place
                await client.get("stranger")
            assert await client.get("default") == (documents.DEFAULT, 0, "default")
    assert [(entry["event"], entry["agent"], entry["consequence"]) for entry in logged] == [
        ("cannot read agent", "desk", "calls run on its last known document"),
        ("cannot read agent", "stranger", "calls are refused"),
        ("cannot read agent", "default", "calls run on the built-in document"),
    ]
    async with open_service(bus, database):
        with pytest.raises(UnknownAgent):
            await client.get("stranger")


async def test_a_caller_is_not_shown_why_the_database_does_not_answer(bus: Bus) -> None:
    async def broken(_message: Message) -> bytes:
        raise ServiceError(UNAVAILABLE, "the database postgresql://secret-host/db does not answer")

    async with await services.serve(bus, "config", {"get": (subjects.config("get"), broken)}):
        with pytest.raises(AgentUnavailable) as unavailable:
            await ConfigClient(bus).get("desk")
    assert "secret-host" not in str(unavailable.value)


async def test_a_stale_writer_is_refused_and_nothing_of_its_set_is_stored(bus: Bus, database: str) -> None:
    async with open_service(bus, database):
        client = ConfigClient(bus)
        assert await client.set([agent("desk", "one")], {"desk": 0}) == {"desk": 1}
        assert await client.set([agent("desk", "two")], {"desk": 1}) == {"desk": 2}
        with pytest.raises(StaleRevision, match="agent desk is at revision 2, not 1"):
            await client.set([agent("alpha"), agent("desk", "late")], {"desk": 1})
        assert (await client.get("desk")).document.prompt == "two"
        assert [line.id for line in await client.list()] == ["default", "desk"]


async def other_change(bus: Bus, name: str) -> None:
    """Tell everybody that an agent changed, as the service does."""
    heard = asyncio.Event()
    listening = await bus.subscribe(subjects.config("changed"), lambda *_: heard.set())
    bus.publish(subjects.config("changed"), b'{"agent":"%s"}' % name.encode())
    await asyncio.wait_for(heard.wait(), WITHIN_S)
    await listening.unsubscribe()


async def test_an_outage_of_the_bus_makes_memory_ask_again(tmp_path: Path, database: str) -> None:
    async with AsyncExitStack() as servers, AsyncExitStack() as ours:
        url = await servers.enter_async_context(server.serve(tmp_path))
        bus = await ours.enter_async_context(connect(BusSettings(url=url)))
        client = ConfigClient(bus)
        async with open_service(bus, database):
            await client.set([agent("desk", "old")])
            await client.get("desk")
        await servers.aclose()
        assert (await client.get("desk", within_s=0.05)).source == "memory"  # an outage alone changes nothing
        async with open_store(database) as store:  # set by somebody whose word did not reach us
            await store.set([agent("desk", "new")])
        await servers.enter_async_context(server.serve(tmp_path, int(url.rpartition(":")[2])))
        await until(lambda: bus.reconnects > 0)
        async with open_service(bus, database):
            await cached(bus, "desk", lambda value: b"new" in (value or b""))
            assert (await client.get("desk")).document.prompt == "new"


async def test_the_cache_is_rebuilt_from_the_database_when_a_service_starts(bus: Bus, database: str) -> None:
    bucket = await kv.bucket(bus, BUCKET, create=True)
    foreign = msgspec.json.encode(StoredAgent({"id": "foreign"}, 7))
    await bucket.replace("foreign", foreign, 0)  # left over from another database
    await bucket.replace("desk", foreign, 0)
    async with open_store(database) as store:
        await store.set([agent("desk")])
    async with open_service(bus, database):
        await cached(bus, "foreign", lambda value: value is None)
        await cached(bus, "desk", lambda value: b'"revision":1' in (value or b""))
        with pytest.raises(UnknownAgent):
            await ConfigClient(bus).get("foreign")


async def test_two_instances_share_the_work_and_leave_one_truth(bus: Bus, nats: str, database: str) -> None:
    async with (
        connect(BusSettings(url=nats)) as second,
        open_service(bus, database),
        open_service(second, database),
    ):
        clients = [ConfigClient(bus), ConfigClient(second)]
        await asyncio.gather(*(client.set([agent("desk", str(n))]) for n in range(10) for client in clients))
        truth = await clients[0].stored("desk")
        assert truth.revision == 20
        await cached(bus, "desk", lambda value: value == msgspec.json.encode(truth))


async def test_an_agent_in_memory_or_cache_is_answered_within_10_ms(bus: Bus, nats: str, database: str) -> None:
    async with open_service(bus, database), connect(BusSettings(url=nats)) as elsewhere:
        names = [f"agent{number}" for number in range(50)]
        await ConfigClient(bus).set([agent(name, "x" * 10_000) for name in names])
        client = ConfigClient(elsewhere)
        await client.get("default")  # opens what it needs
        for source in ("cache", "memory"):
            took = []
            for name in names:
                started = time.perf_counter()
                assert (await client.get(name)).source == source
                took.append(time.perf_counter() - started)
            assert sorted(took)[len(took) // 2] < 0.010


@pytest.mark.parametrize(
    ("sent", "code", "told"),
    [
        (b'{"documents":[{"id":"a.b"}]}', "400", "id: agent id 'a.b' is not allowed"),
        (b'{"documents":[{"id":"ok"},{"id":"x","turns":{"min_delay_ms":-1}}]}', "400", "turns.min_delay_ms: Input"),
        (b'{"documents":"all"}', "400", "not a request"),
        (b"\xff", "400", "not a request"),
        (msgspec.json.encode({"documents": [{"id": "x", "llm": {"options": {"o": "x" * 530_000}}}]}), "400", "530"),
    ],
)
async def test_a_bad_set_names_the_field_in_one_line_and_stores_nothing(
    bus: Bus, database: str, sent: bytes, code: str, told: str
) -> None:
    async with open_service(bus, database) as _service:
        with pytest.raises(ServiceError, match=told) as refused:
            await bus.request(subjects.config("set"), sent, WITHIN_S)
        assert refused.value.code == code
        assert "\n" not in str(refused.value)
        assert [line.id for line in await ConfigClient(bus).list()] == ["default"]


async def test_too_much_at_once_is_refused_before_it_is_sent(bus: Bus) -> None:
    with pytest.raises(BadDocument, match="in one go"):
        await ConfigClient(bus).set([agent(f"agent{number}", "x" * 20_000) for number in range(60)])


async def test_a_list_of_more_than_a_page_is_whole_and_in_order(bus: Bus, database: str) -> None:
    names = [f"agent{number:04}" for number in range(1_001)]
    async with open_store(database) as store:
        await store.set([agent(name) for name in names])
    async with open_service(bus, database):
        assert [line.id for line in await ConfigClient(bus).list()] == [*names, "default"]


async def test_the_calls_of_a_campaign_run_on_all_layers_from_every_source(bus: Bus, database: str) -> None:
    summer = CampaignDocument(agent="desk", campaign="summer", overrides={"greeting": "Hot today!"})
    async with open_service(bus, database, {"turns": {"min_delay_ms": 200}}):
        client = ConfigClient(bus)
        await client.set([agent("desk")], campaigns=[summer])
        await cached(bus, "desk.summer", lambda value: value is not None)
        for source in ("cache", "memory"):
            runtime = await client.get("desk", "summer")
            assert (runtime.document.greeting, runtime.document.turns.min_delay_ms) == ("Hot today!", 200)
            assert (runtime.document.prompt, runtime.source) == ("Be kind.", source)
        alone = await client.get("desk")
        assert (alone.document.greeting, alone.document.turns.min_delay_ms) == ("", 200)
        for prompt in ("Be brief.", "Be slow."):  # a change of the agent reaches its campaigns at once
            await client.set([agent("desk", prompt)])
            assert (await client.get("desk", "summer")).document.prompt == prompt
        with pytest.raises(UnknownAgent, match="no campaign 'winter' of agent 'desk'"):
            await client.get("desk", "winter")
        origins = {field.path: (field.value, field.origin) for field in await client.explain(Key("desk", "summer"))}
        assert origins["greeting"] == ("Hot today!", "campaign")
        assert origins["prompt"] == ("Be slow.", "agent")
        assert origins["turns.min_delay_ms"] == (200, "environment")
        assert origins["turns.max_delay_ms"][1] == "default"
        with pytest.raises(UnknownAgent):
            await client.explain(Key("desk", "winter"))
    elsewhere = ConfigClient(bus)  # without the service
    assert (await elsewhere.get("desk", "summer")).document.greeting == "Hot today!"
    with pytest.raises(AgentUnavailable, match="cannot open agent desk:winter"):
        await elsewhere.get("desk", "winter")
