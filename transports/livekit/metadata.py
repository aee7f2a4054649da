"""Metadata of a room or of its job: the agent that is asked for, and where the call came from. Pure."""

import msgspec

from schemas.events import MetadataProblem, MetadataRefused, Origin
from schemas.subjects import BadId, check_id

MAX_METADATA = 64 * 1024  # bytes; far more than four fields need
MAX_FIELD = 128  # characters; an id of another system, or a number with its prefix
FIELDS = ("campaign_id", "lead_id", "phone_number")


class Metadata(msgspec.Struct, frozen=True):
    """The usable part of a room's metadata. agent: "" if none is named. refused: the faults, without the values."""

    agent: str
    fields: dict[str, str]
    refused: tuple[MetadataRefused, ...]

    def origin(self, room: str) -> Origin:
        """Return the origin of a call in `room`, for `session_opened`."""
        return Origin(room=room, **self.fields)


def read_metadata(of_job: str, of_room: str) -> Metadata:
    """Read the job's metadata, or the room's if the job has none.

    It is a JSON object `{agent_id, campaign_id, lead_id, phone_number}`. No fault raises: a bad field is left out and
    reported by its name, because a room with bad metadata gets an agent, too.
    """
    text = of_job.strip() or of_room.strip()
    if not text:
        return _nothing("missing")
    if len(text.encode(errors="surrogatepass")) > MAX_METADATA:
        return _nothing("too_long")
    try:
        values = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):  # RecursionError: nested without end
        return _nothing("not_json")
    if not isinstance(values, dict):
        return _nothing("not_an_object")
    refused = []
    agent = values.get("agent_id")
    if agent is None or agent == "":
        refused.append(MetadataRefused(reason="missing", field="agent_id"))
        agent = ""
    elif fault := _fault("agent_id", agent):
        refused.append(fault)
        agent = ""
    fields = {name: values[name] for name in FIELDS if values.get(name) not in (None, "")}
    refused += [fault for name, value in fields.items() if (fault := _fault(name, value))]
    bad = {fault.field for fault in refused}
    return Metadata(agent, {name: value for name, value in fields.items() if name not in bad}, tuple(refused))


def _nothing(reason: MetadataProblem) -> Metadata:
    return Metadata("", {}, (MetadataRefused(reason=reason),))


def _fault(name: str, value: object) -> MetadataRefused | None:
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
