"""Where everything is said, and who says it: the tables that docs/asyncapi.json is made of."""

from typing import Any, NamedTuple

import msgspec

from schemas import breakers, config, control, events, media, subjects

MSGPACK, JSON, BINARY = "application/x-msgpack", "application/json", "application/octet-stream"

Struct = type[msgspec.Struct]


class Channel(NamedTuple):
    """Where something is said: the subject with its parameters in capitals, the messages and how they are encoded."""

    subject: str
    messages: tuple[Struct, ...]
    content: str
    about: str


class Operation(NamedTuple):
    """What `who` does on a channel with some of its messages (none: all of them), and what comes back."""

    who: str
    does: str
    action: str
    channel: str
    messages: tuple[Struct, ...]
    replies: tuple[Struct, ...]
    about: str


JOURNALED = tuple(event for event in events.EVENTS if event not in events.EPHEMERAL)

CHANNELS = {
    "event": Channel(
        subjects.event("AGENT", "SESSION", "STAGE.EVENT"),
        JOURNALED,
        MSGPACK,
        "The events of calls. Each is also kept in the JetStream stream `CALLS`. Put `*` for what you do not mind:"
        f" `{subjects.events(agent='receptionist')}` are all call_events of one agent.",
    ),
    "ephemeral": Channel(
        subjects.ephemeral("AGENT", "SESSION", "STAGE.EVENT"),
        events.EPHEMERAL,
        MSGPACK,
        "The same envelope, for what is of use only now: never journaled, and it may be lost.",
    ),
    "media": Channel(
        subjects.media("WORKER", "SESSION"),
        (media.Frame,),
        BINARY,
        "Audio for one session, addressed to the worker that owns its stage, and to nobody else.",
    ),
    "control": Channel(
        subjects.control("SESSION", "STAGE", "VERB"),
        (
            control.Start,
            control.Close,
            control.Release,
            control.Unknown,
            control.Orphaned,
            control.PreConnectAudio,
            control.Configure,
        ),
        MSGPACK,
        "The life of a session between its coordinator and its owners.",
    ),
    "claim": Channel(
        subjects.claim("STAGE"),
        (control.ClaimStage, control.ClaimSession),
        MSGPACK,
        "Requests to the queue group with the name of the stage: one worker that has room answers.",
    ),
    "heartbeat": Channel(
        subjects.heartbeat("COORDINATOR", "WORKER"),
        (control.Heartbeat,),
        MSGPACK,
        "A worker's sign of life to each coordinator that it serves, every 100 ms.",
    ),
    "worker": Channel(
        subjects.worker("WORKER"),
        (),
        JSON,
        "An empty request; the worker tells about itself. `nats micro ls` finds the workers.",
    ),
    "room": Channel(
        subjects.room_token("ROOM", "VERB"),
        (control.RoomTaken, control.RoomFinished, control.RoomSessionOver),
        MSGPACK,
        "What concerns one room of LiveKit: the ingress that serves it listens.",
    ),
    "breaker": Channel(
        subjects.breaker_changed(),
        (breakers.BreakerState,),
        MSGPACK,
        "The health of providers: a worker publishes each change, and every worker avoids a provider that fails.",
    ),
    "webhook": Channel(
        subjects.webhook(),
        (control.Webhook,),
        MSGPACK,
        "What was posted in the name of LiveKit, to the ingresses that can tell.",
    ),
    "config": Channel(
        subjects.config("VERB"),
        (
            config.GetAgent,
            config.SetAgents,
            config.PublishVersion,
            config.GetRuntime,
            config.ExplainRuntime,
            config.ListAgents,
            config.ListVersions,
            config.ListCampaigns,
            config.ListNumbers,
            config.AgentChanged,
        ),
        JSON,
        "The config service, in the NATS micro convention: an error comes as the headers"
        " `Nats-Service-Error` and `Nats-Service-Error-Code`.",
    ),
}

REPLIES: dict[Struct, str] = {
    **dict.fromkeys(
        (
            control.Claimed,
            control.SessionOffer,
            control.Started,
            control.Closed,
            control.Configured,
            control.RoomHeld,
            control.WebhookChecked,
        ),
        MSGPACK,
    ),
    **dict.fromkeys(
        (
            control.WorkerStatus,
            config.StoredAgent,
            config.AgentsSet,
            config.AgentPage,
            config.RuntimeConfig,
            config.Explained,
            config.VersionPage,
            config.CampaignPage,
            config.NumberPage,
        ),
        JSON,
    ),
}

SEND, RECEIVE = "send", "receive"
OPERATIONS = (
    Operation("subscriber", "follows_calls", RECEIVE, "event", (), (), "Hear what happens in calls, as it happens."),
    Operation(
        "subscriber", "follows_ephemerals", RECEIVE, "ephemeral", (), (), "Hear what is said before it is final."
    ),
    *(
        Operation(stage, f"publishes_{plane}", SEND, plane, published, (), f"What {stage} publishes.")
        for plane, call_events in (("event", JOURNALED), ("ephemeral", events.EPHEMERAL))
        for stage in subjects.STAGES
        if (published := tuple(event for event in call_events if events.stage(event) == stage))
    ),
    Operation("ingress", "sends_caller", SEND, "media", (), (), "What the caller says, to stt."),
    Operation("tts", "sends_agent", SEND, "media", (), (), "What the agent says, to egress."),
    Operation("egress", "sends_paced", SEND, "media", (), (), "What the caller is to hear now, to ingress."),
    Operation(
        "ingress", "claims", SEND, "claim", (control.ClaimStage,), (control.Claimed,), "Find an owner for a stage."
    ),
    Operation(
        "caller", "asks", SEND, "claim", (control.ClaimSession,), (control.SessionOffer,), "Find out where to call."
    ),
    Operation("ingress", "starts", SEND, "control", (control.Start,), (control.Started,), "Hand over a session."),
    Operation("ingress", "closes", SEND, "control", (control.Close,), (control.Closed,), "End it."),
    Operation("ingress", "releases", SEND, "control", (control.Release,), (), "Drop a claim that it does not need."),
    Operation("gateway", "hangs_up", SEND, "control", (control.Close,), (control.Closed,), "End it for its caller."),
    Operation(
        "egress", "hands_back", SEND, "control", (control.PreConnectAudio,), (), "What was said before the call."
    ),
    Operation(
        "operator", "configures", SEND, "control", (control.Configure,), (control.Configured,), "Change a live session."
    ),
    Operation("worker", "disowns", SEND, "control", (control.Unknown,), (), "Say that a session is not its own."),
    Operation(
        "worker",
        "reports_orphan",
        SEND,
        "control",
        (control.Orphaned,),
        (control.Closed,),
        "Have another ingress publish the end of a session whose ingress is gone.",
    ),
    Operation("worker", "lives", SEND, "heartbeat", (), (), "Tell each coordinator that the worker lives."),
    Operation("ingress", "asks_room", SEND, "room", (), (control.RoomHeld,), "Does somebody serve this room?"),
    Operation("ingress", "takes", SEND, "room", (control.RoomTaken,), (), "Say that it serves a room from now on."),
    Operation("ingress", "finishes", SEND, "room", (control.RoomFinished,), (), "Say that a room is closed."),
    Operation(
        "ingress", "leaves_room", SEND, "room", (control.RoomSessionOver,), (), "Report that a session in a room ended."
    ),
    Operation(
        "gateway", "checks", SEND, "webhook", (control.Webhook,), (control.WebhookChecked,), "Is this from LiveKit?"
    ),
    Operation("worker", "warns", SEND, "breaker", (breakers.BreakerState,), (), "Avoid a provider, or use it again."),
    Operation("anyone", "asks_worker", SEND, "worker", (), (control.WorkerStatus,), "What `antiphon ps` shows."),
    Operation("anyone", "gets", SEND, "config", (config.GetAgent,), (config.StoredAgent,), "Read an agent."),
    Operation("anyone", "sets", SEND, "config", (config.SetAgents,), (config.AgentsSet,), "Write agents."),
    Operation("anyone", "lists", SEND, "config", (config.ListAgents,), (config.AgentPage,), "List agents."),
    Operation(
        "anyone",
        "publishes",
        SEND,
        "config",
        (config.PublishVersion,),
        (config.AgentsSet,),
        "Let calls run on a version.",
    ),
    Operation(
        "anyone",
        "lists_versions",
        SEND,
        "config",
        (config.ListVersions,),
        (config.VersionPage,),
        "List saved versions.",
    ),
    Operation(
        "anyone", "lists_campaigns", SEND, "config", (config.ListCampaigns,), (config.CampaignPage,), "List campaigns."
    ),
    Operation(
        "anyone", "lists_numbers", SEND, "config", (config.ListNumbers,), (config.NumberPage,), "List phone numbers."
    ),
    Operation(
        "anyone", "resolves", SEND, "config", (config.GetRuntime,), (config.RuntimeConfig,), "Read what calls run on."
    ),
    Operation(
        "anyone", "explains", SEND, "config", (config.ExplainRuntime,), (config.Explained,), "Where each field is from."
    ),
    Operation("config", "tells", SEND, "config", (config.AgentChanged,), (), "Say to all that an agent changed."),
)

PARAMETERS: dict[str, dict[str, Any]] = {
    "agent": {"description": "Which agent answers the call."},
    "session": {"description": "Which call: 128 random bits in hexadecimal."},
    "stage": {"description": "Who speaks, or is spoken to.", "enum": list(subjects.STAGES)},
    "event": {"description": "The event; with the stage before it, the name of the message."},
    "room": {"description": "The first 128 bits of the SHA-256 of the room's name, in hexadecimal."},
    "worker": {"description": "One process start of a stage."},
    "coordinator": {"description": "The ingress worker that coordinates a session."},
    "verb": {"description": "What is asked, or was done."},
}
