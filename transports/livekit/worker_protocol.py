"""What LiveKit and a worker say to each other on `/agent`, and what a room's metadata says of its call.

The protocol is protobuf with its JSON form: whoever speaks in text frames is answered in them. Unknown fields and
unknown messages of later servers are ignored. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from schemas.control import RoomAccess
from schemas.events import MetadataProblem, MetadataRefused, Origin
from schemas.subjects import BadId, check_id

MAX_METADATA = 64 * 1024  # bytes; far more than four fields need
HIGHEST_LOAD = 0.69  # at a load of 0.7 (its `target_load`) the server gives no more jobs, though we have room
MAX_FIELD = 128  # characters; an id of another system, or a number with its prefix
FIELDS = ("campaign_id", "lead_id", "phone_number")

# --- what the server says ---------------------------------------------------------------------------------------------


class Room(msgspec.Struct, frozen=True, rename="camel"):
    """The room of a job. sid: of this room; a later one of the same name has another."""

    sid: str = ""
    name: str = ""
    metadata: str = ""


class Wanted(msgspec.Struct, frozen=True, rename="camel"):
    """A job as the server describes it."""

    id: str
    room: Room = Room()
    metadata: str = ""


class Registered(msgspec.Struct, frozen=True, rename="camel"):
    """We may be given jobs from now on."""

    worker_id: str = ""


class Offer(msgspec.Struct, frozen=True, rename="camel"):
    """Will you take this job? Answered at once: an answer that is late loses the job for everybody."""

    job: Wanted


class Assignment(msgspec.Struct, frozen=True, rename="camel"):
    """The job is ours. url: empty for the server that says it."""

    job: Wanted
    token: str
    url: str = ""


class Termination(msgspec.Struct, frozen=True, rename="camel"):
    """The job is over: its room is closed, or its dispatch was deleted."""

    job_id: str


class Told(msgspec.Struct, frozen=True, rename="camel"):
    """A message of the server: one of these, or nothing that we know."""

    register: Registered | None = None
    availability: Offer | None = None
    assignment: Assignment | None = None
    termination: Termination | None = None


class BadMessage(ValueError):
    """What came is not a message of this protocol; the text names the field."""


def read(text: str | bytes) -> Told:
    """A message of the server. Raises BadMessage."""
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise BadMessage(str(error)) from None


_decoder = msgspec.json.Decoder(Told)

# --- what we say ------------------------------------------------------------------------------------------------------


def register(agent_name: str, version: str) -> str:
    """We take rooms, and enter them unseen to listen only: it is egress that speaks, with a token of its own."""
    hidden = {"canSubscribe": True, "canPublish": False, "canPublishData": False, "hidden": True}
    return _said(
        "register", type="JT_ROOM", agentName=agent_name, version=version, allowedPermissions=hidden, pingInterval=0
    )


def status(held: int, capacity: int, *, takes: bool) -> str:
    """How busy we are; the server chooses among those that take jobs, the idle ones more often."""
    load = min(1.0, held / capacity) * HIGHEST_LOAD
    return _said("updateWorker", status="WS_AVAILABLE" if takes else "WS_FULL", load=load, jobCount=held)


def available(job: str, identity: str) -> str:
    """We take it, and enter the room as `identity`."""
    return _said("availability", jobId=job, available=True, participantIdentity=identity)


def unavailable(job: str) -> str:
    """Ask another."""
    return _said("availability", jobId=job, available=False)


def running(job: str) -> str:
    """Somebody serves the room."""
    return _said("updateJob", jobId=job, status="JS_RUNNING")


def done(job: str, error: str = "") -> str:
    """It is over; `error` says why it could not be served."""
    return _said("updateJob", jobId=job, status="JS_FAILED" if error else "JS_SUCCESS", error=error)


def _said(what: str, **fields: object) -> str:
    return msgspec.json.encode({what: fields}).decode()


# --- metadata ---------------------------------------------------------------------------------------------------------


class Metadata(msgspec.Struct, frozen=True):
    """What of a room's metadata is good, and what had to be refused. agent: empty for the default one."""

    agent: str
    fields: dict[str, str]
    refused: tuple[MetadataRefused, ...]

    def origin(self, room: str) -> Origin:
        """The same, as a session tells it."""
        return Origin(room=room, **self.fields)


@dataclass(frozen=True)
class Arrival:
    """How a call came to us out of a room. access: makes a new token for egress each time."""

    origin: Origin
    refused: tuple[MetadataRefused, ...]
    access: Callable[[], RoomAccess]


def metadata(of_job: str, of_room: str) -> Metadata:
    """The job's own metadata, else its room's: a JSON object `{agent_id, campaign_id, lead_id, phone_number}`.

    Whatever is wrong with it, there is a call: a field that is not good is left out, and told by name, never by value.
    """
    text = of_job.strip() or of_room.strip()
    if not text:
        return _nothing("missing")
    if len(text.encode(errors="surrogatepass")) > MAX_METADATA:
        return _nothing("too_long")
    try:
        told = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):  # the second: nested without end
        return _nothing("not_json")
    if not isinstance(told, dict):
        return _nothing("not_an_object")
    refused = []
    agent = told.get("agent_id")
    if agent is None or agent == "":
        refused.append(MetadataRefused(reason="missing", field="agent_id"))
        agent = ""
    elif wrong := _wrong("agent_id", agent):
        refused.append(wrong)
        agent = ""
    fields = {name: told[name] for name in FIELDS if told.get(name) not in (None, "")}
    refused += [wrong for name, value in fields.items() if (wrong := _wrong(name, value))]
    bad = {wrong.field for wrong in refused}
    return Metadata(agent, {name: value for name, value in fields.items() if name not in bad}, tuple(refused))


def _nothing(reason: MetadataProblem) -> Metadata:
    return Metadata("", {}, (MetadataRefused(reason=reason),))


def _wrong(name: str, value: object) -> MetadataRefused | None:
    if not isinstance(value, str):
        return MetadataRefused(reason="wrong_type", field=name)
    if name == "agent_id":
        try:
            check_id(value)
        except BadId:
            return MetadataRefused(reason="bad_value", field=name)
    elif len(value) > MAX_FIELD or not value.isprintable():
        return MetadataRefused(reason="bad_value", field=name)
    return None
