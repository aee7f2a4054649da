"""Messages of LiveKit's worker protocol (`livekit.protocol.agent`), by which a worker is given jobs for rooms. Pure.

The protocol is protobuf: it ignores fields and messages of later servers. The server answers binary frames in binary.
"""

from dataclasses import dataclass, field

from google.protobuf.message import DecodeError
from livekit.protocol.agent import (
    AvailabilityRequest,
    AvailabilityResponse,
    JobAssignment,
    JobStatus,
    JobTermination,
    JobType,
    RegisterWorkerRequest,
    RegisterWorkerResponse,
    ServerMessage,
    UpdateJobStatus,
    UpdateWorkerStatus,
    WorkerMessage,
    WorkerStatus,
)
from livekit.protocol.models import ParticipantPermission

HIGHEST_LOAD = 0.69  # at a load of 0.7 (its `target_load`) the server gives no more jobs, though capacity is left

# A hidden participant that only listens: egress speaks, with a token of its own.
PERMISSIONS = ParticipantPermission(can_subscribe=True, can_publish=False, can_publish_data=False, hidden=True)

FromServer = RegisterWorkerResponse | AvailabilityRequest | JobAssignment | JobTermination


@dataclass(frozen=True)
class RoomJob:
    """An accepted job for a room.

    room_id: LiveKit's own id of the room. session, agent: for `RoomHost.answer`. token: admits ingress, hidden, to the
    room at `url`; it is sent nowhere else. metadata: the usable ones of `campaign_id`, `lead_id`, `phone_number`.
    """

    id: str
    room: str
    room_id: str
    session: str
    agent: str
    url: str
    token: str = field(repr=False)
    metadata: dict[str, str] = field(default_factory=dict)


class BadMessage(ValueError):
    """Raised for bytes that are no message of this protocol."""


def read(data: bytes | str) -> FromServer | None:
    """Return the content of a server's message; None if it is one that the worker does not use. Raises BadMessage."""
    if isinstance(data, str):
        raise BadMessage("cannot read a text frame: the worker protocol is binary")
    try:
        message = ServerMessage.FromString(data)
    except DecodeError as error:
        raise BadMessage(f"cannot read a message of the worker protocol: {error}") from None
    match message.WhichOneof("message"):
        case "register":
            return message.register
        case "availability":
            return _with_id(message.availability, message.availability.job.id)
        case "assignment":
            return _with_id(message.assignment, message.assignment.job.id)
        case "termination":
            return _with_id(message.termination, message.termination.job_id)
        case _:
            return None


def _with_id(content: FromServer, job: str) -> FromServer:
    if not job:
        raise BadMessage("cannot read a message of the worker protocol: it has no job id")
    return content


def register(agent_name: str, version: str) -> bytes:
    """Register for jobs of rooms: of all new rooms, or with an agent name of those that ask for it."""
    request = RegisterWorkerRequest(
        type=JobType.JT_ROOM, agent_name=agent_name, version=version, allowed_permissions=PERMISSIONS
    )
    return WorkerMessage(register=request).SerializeToString()


def status(busy: int, capacity: int, *, available: bool) -> bytes:
    """Report the load. The server chooses among available workers, idle ones more often."""
    load = min(1.0, busy / capacity) * HIGHEST_LOAD
    state = WorkerStatus.WS_AVAILABLE if available else WorkerStatus.WS_FULL
    return WorkerMessage(update_worker=UpdateWorkerStatus(status=state, load=load, job_count=busy)).SerializeToString()


def accept(job: str, identity: str) -> bytes:
    """Accept an offered job; the worker will enter its room as `identity`."""
    response = AvailabilityResponse(job_id=job, available=True, participant_identity=identity)
    return WorkerMessage(availability=response).SerializeToString()


def decline(job: str) -> bytes:
    """Decline an offered job; the server offers it to another worker."""
    return WorkerMessage(availability=AvailabilityResponse(job_id=job, available=False)).SerializeToString()


def running(job: str) -> bytes:
    """Report that the job's room is served."""
    return WorkerMessage(update_job=UpdateJobStatus(job_id=job, status=JobStatus.JS_RUNNING)).SerializeToString()


def done(job: str, error: str = "") -> bytes:
    """Report the end of a job. error: why the room could not be served."""
    state = JobStatus.JS_FAILED if error else JobStatus.JS_SUCCESS
    update = UpdateJobStatus(job_id=job, status=state, error=error)
    return WorkerMessage(update_job=update).SerializeToString()
