"""The closed enumerations of the contract with their meanings: the tables of reasons in docs/operations.md."""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar, get_args

from schemas.control import Refusal
from schemas.events import CloseReason, MetadataProblem, ProviderErrorKind

Reason = TypeVar("Reason", bound=str)


class Meaning(NamedTuple):
    """One value of an enumeration: what happened, and what an operator does about it (may be empty)."""

    happened: str
    remedy: str = ""


_STAGE_LOG = "read `detail`, then the log of that worker"
_LOST = "check the worker's log, the load of its machine and its network"

CLOSED: dict[CloseReason, Meaning] = {
    "hangup": Meaning("The caller hung up, or closed the connection."),
    "caller_lost": Meaning(
        "The connection broke without a goodbye, or the caller answered no ping for 10 s.",
        "check the caller's network and machine",
    ),
    "caller_too_slow": Meaning("Ten seconds of audio waited for the caller's socket.", "check the caller's network"),
    "no_caller": Meaning(
        "LiveKit sent an agent into a room, and no caller came for 5 minutes.",
        "check the program that dispatches agents",
    ),
    "room_closed": Meaning("The [room](livekit.md#when-a-room-ends) was closed, or the agent was removed from it."),
    "room_lost": Meaning(
        "LiveKit sent nothing for 6 to 9 s, or disconnected ingress without a reason of its own.",
        "check LiveKit's server and the network to it",
    ),
    "room_unreachable": Meaning(
        "Ingress could not enter the room within 10 s.", "check LiveKit's server; the log of ingress has the cause"
    ),
    "terminated": Meaning("Ingress stopped serving the room before the session began to end."),
    "shutdown": Meaning("This ingress was stopped."),
    "no_worker": Meaning(
        "No worker of a stage took the session within 3 s; `detail` names the stage and the cause.",
        "run `antiphon ps`; start more workers, or raise `--capacity`",
    ),
    "provider_missing": Meaning(
        "A worker lacks the provider that the agent names.",
        "correct the agent's document, or install the extra that `detail` names",
    ),
    "version": Meaning("Workers speak different protocol versions.", "deploy the same version everywhere"),
    "stt_failed": Meaning("stt did not start, its provider failed for good, or it has a bug.", _STAGE_LOG),
    "llm_failed": Meaning("llm did not start, its provider failed for good, or it has a bug.", _STAGE_LOG),
    "tts_failed": Meaning("tts did not start, its provider failed for good, or it has a bug.", _STAGE_LOG),
    "egress_failed": Meaning("egress did not start, or it has a bug.", _STAGE_LOG),
    "ingress_lost": Meaning("The ingress worker of the call died. Another one published this.", _LOST),
    "stt_lost": Meaning("The stt worker was lost, and no other took over within 20 s.", _LOST),
    "llm_lost": Meaning("The llm worker was lost, and no other took over within 20 s.", _LOST),
    "tts_lost": Meaning("The tts worker was lost, and no other took over within 20 s.", _LOST),
    "egress_lost": Meaning("The egress worker was lost, and no other took over within 20 s.", _LOST),
    "overloaded": Meaning(
        "1,000 events of one session waited for a provider to open or for a slow handler.",
        "give the worker fewer sessions",
    ),
    "failed": Meaning("Ingress itself failed.", "read the log of that ingress and report the bug"),
}

REFUSED: dict[Refusal, Meaning] = {
    "full": Meaning("The worker or its provider has as many sessions as it may have.", "start more workers"),
    "draining": Meaning("The worker is about to stop."),
    "superseded": Meaning("Ingress has made a newer claim for this session."),
    "provider_missing": Meaning("The worker lacks the provider.", "install its extra, or name another"),
    "version": Meaning("The worker speaks another protocol version.", "deploy the same version everywhere"),
    "unknown_agent": Meaning("The config service has no agent of this id.", "run `antiphon agent list`"),
    "agent_unavailable": Meaning(
        "Neither the cache nor the config service answers, and this ingress never read the agent.",
        "start `antiphon run config`; the log of ingress has the cause",
    ),
    "no_worker": Meaning("No worker of a stage has room.", "run `antiphon ps`"),
    "failed": Meaning("Another cause; `detail` names it."),
}

METADATA: dict[MetadataProblem, Meaning] = {
    "missing": Meaning("The room has no metadata, or no `agent_id` in it."),
    "not_json": Meaning("The metadata is not JSON."),
    "not_an_object": Meaning("The metadata is JSON, but no object."),
    "too_long": Meaning("The metadata has more than 64 KB."),
    "wrong_type": Meaning("The field is not a string."),
    "bad_value": Meaning("The field is too long, or has characters that are not allowed."),
    "unknown_agent": Meaning("The config service has no agent of this id; the default agent answers."),
}

PROVIDER: dict[ProviderErrorKind, Meaning] = {
    "auth": Meaning("The provider refused the key.", "check the key that the message names"),
    "quota": Meaning("The provider's rate limit or budget is exhausted.", "raise the limit, or add a fallback"),
    "timeout": Meaning("The provider did not answer within its deadline."),
    "connection": Meaning("The provider could not be reached.", "check the network and the provider's status page"),
    "bad_request": Meaning("The provider refused the request.", "read the message; it may be an option or a bug"),
    "server": Meaning("The provider failed."),
    "options": Meaning("The agent's document has an option that the provider does not accept.", "correct it"),
    "no_audio": Meaning(
        "The synthesizer made no sound, or only silence, of a text with letters or digits.",
        "check that the voice speaks the language and the script of the agent's replies",
    ),
}


def complete() -> bool:
    """Return whether each enumeration of the contract has a meaning for each of its values."""
    tables = ((CLOSED, CloseReason), (REFUSED, Refusal), (METADATA, MetadataProblem), (PROVIDER, ProviderErrorKind))
    return all(set(table) == set(get_args(kind)) for table, kind in tables)


def table(meanings: Mapping[Reason, Meaning]) -> str:
    """Return the enumeration as a Markdown table."""
    rows = [f"| `{value}` | {meaning.happened} | {meaning.remedy} |" for value, meaning in meanings.items()]
    return "\n".join(["| reason | what happened | what to do |", "|---|---|---|", *rows, ""])
