"""The messages of LiveKit's worker protocol."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol.agent import (
    AvailabilityRequest,
    Job,
    JobAssignment,
    RegisterWorkerResponse,
    ServerMessage,
    WorkerMessage,
    WorkerPong,
    WorkerStatus,
)
from livekit.protocol.models import Room

from transports.livekit import worker_protocol

LATER_FIELD = b"\xaa\x06\x03abc"  # of number 101, which no message has


def encoded(message: ServerMessage) -> bytes:
    return message.SerializeToString()


def test_an_assignment_has_its_job_its_room_and_a_token() -> None:
    room = Room(sid="RM_1", name="lobby", metadata="{}")
    sent = JobAssignment(job=Job(id="AJ_1", room=room), token="t", url="ws://x")
    assert worker_protocol.read(encoded(ServerMessage(assignment=sent))) == sent


def test_a_message_of_a_later_server_is_ignored() -> None:
    registered = ServerMessage(register=RegisterWorkerResponse(worker_id="AW_1"))
    assert worker_protocol.read(encoded(registered) + LATER_FIELD) is not None
    for unused in (LATER_FIELD, b"", encoded(ServerMessage(pong=WorkerPong(timestamp=1)))):
        assert worker_protocol.read(unused) is None


@pytest.mark.parametrize(
    "data",
    [
        "{}",
        b'{"register": {}}',
        encoded(ServerMessage(register=RegisterWorkerResponse(worker_id="AW_1")))[:-1],
        encoded(ServerMessage(availability=AvailabilityRequest())),
        encoded(ServerMessage(assignment=JobAssignment(job=Job(), token="t"))),
        b"\x0a\x04\x0a\x02\xff\xff",  # the worker's id is not UTF-8
    ],
)
def test_a_message_that_is_none_is_refused(data: bytes | str) -> None:
    with pytest.raises(worker_protocol.BadMessage):
        worker_protocol.read(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(worker_protocol.BadMessage):
        worker_protocol.read(data)


def test_load_stays_below_that_at_which_the_server_gives_no_more_jobs() -> None:
    sent = WorkerMessage.FromString(worker_protocol.status(3, 2, available=False)).update_worker
    assert (round(sent.load, 6), sent.status, sent.job_count) == (
        worker_protocol.HIGHEST_LOAD, WorkerStatus.WS_FULL, 3
    )  # fmt: skip


def test_a_worker_registers_hidden_and_listening_only() -> None:
    sent = WorkerMessage.FromString(worker_protocol.register("front", "1")).register
    may = sent.allowed_permissions
    assert (sent.agent_name, may.hidden, may.can_subscribe) == ("front", True, True)
    assert (may.can_publish, may.can_publish_data) == (False, False)
