"""The targets for rooms: the second table of docs/performance.md."""

from pathlib import Path
from typing import Any

from bench.targets import Figure, Target, of, read

ROOMS, FEW = 8, 4  # in one run
STOLEN_AT_MOST = 0.05  # cores that the host may give to other guests during a run


def name(rooms: int, turn_taking: bool = False) -> str:
    """Return the name of the report of a run."""
    return f"rooms-{rooms}" + "-turn-taking" * turn_taking


def peer(rooms: int, turn_taking: bool = False) -> str:
    """Return the name of the report of a run beside LiveKit Agents."""
    return f"peer-{rooms}" + "-turn-taking" * turn_taking


def beside(found: dict[str, Any], baseline: dict[str, Any]) -> dict[str, Any]:
    """Compare a run with LiveKit's SDK alone in the same minutes: ratio of processor time, ms of latency beyond.

    With turn taking the product waits for the end of a pause, and the SDK alone does not.
    """
    apart: dict[str, Any] = {"core_x": round(found["core_per_room"] / baseline["core_per_room"], 2)}
    if not found["turn_taking"]:
        kept = ("p50", "p95")
        apart["latency_ms"] = {
            name: round(found["latency_ms"][name] - baseline["latency_ms"][name], 1) for name in kept
        }
    kept_of_baseline = {name: baseline[name] for name in ("core_per_room", "latency_ms", "stolen_cores")}
    return {"baseline": kept_of_baseline, "beside_baseline": apart}


def parts(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    """Divide a run of Antiphon by a run of a peer with the same calls."""
    found = {"core": ours["core_per_room"] / theirs["core_per_room"]}
    for measure, at in (("latency", "p50"), ("latency", "p95"), ("join", "p50"), ("join", "max")):
        found[f"{measure}_{at}"] = ours[f"{measure}_ms"][at] / theirs[f"{measure}_ms"][at]
    return {name: round(part, 3) for name, part in found.items()}


def stolen(run: dict[str, Any]) -> float:
    """Return the stolen cores of a run, or of its baseline if those are more."""
    return max(float(run["stolen_cores"]), float(run["baseline"]["stolen_cores"]))


def quiet(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the runs whose latencies the host did not disturb."""
    return [run for run in runs if stolen(run) <= STOLEN_AT_MOST]


def line(run: dict[str, Any]) -> str:
    """Return a run as one line."""
    return f"{run['rooms']} rooms: {_short(run)}; SDK alone: {_short(run['floor'])}; stolen: {stolen(run)}"


def line_of_both(run: dict[str, Any]) -> str:
    """Return the name of the report of a run beside LiveKit Agents."""
    return f"{run['rooms']} rooms: {_short(run['ours'])}; LiveKit Agents: {_short(run['theirs'])}"


def _short(run: dict[str, Any]) -> str:
    told = f"{run['core_per_room']} of a core, {run['latency_ms']['p50']:.0f} / {run['latency_ms']['p95']:.0f} ms"
    if "join_ms" in run:
        told += f", joining {run['join_ms']['p50']:.0f} / {run['join_ms']['max']:.0f} ms"
    return told


def _lost(folder: Path) -> list[Figure] | None:
    found = read(folder, name(ROOMS))
    if found is None:
        return None
    return [Figure(value, value, value) for value in (sum(found["lost"].values()), found["underruns"])]


def _further(folder: Path) -> list[Figure] | None:
    """Return the slope between few rooms and more, which leaves out what a process takes once."""
    few, more = read(folder, name(FEW)), read(folder, name(ROOMS))
    if few is None or more is None:
        return None
    mb = round((more["pss_mb"] - few["pss_mb"]) / (ROOMS - FEW), 1)
    return [Figure(mb, mb, mb)]


TARGETS = (
    Target(
        "core a room, 8 rooms, all processes",
        "LiveKit Agents 0.084, Pipecat 0.096 (0.057 in one process)",
        (0.080,),
        (0.060,),
        of(name(ROOMS), ("core_per_room",)),
        unit="",
    ),
    Target(
        "the same with default turn taking, 4 rooms",
        "0.124, 0.136",
        (0.095,),
        (0.075,),
        of(name(FEW, turn_taking=True), ("core_per_room",)),
        unit="",
    ),
    Target(  # the bounds above divided by the baseline when they were set: 0.048, with 4 rooms 0.058
        "core a room beside that of the SDK alone in the same minutes, 8 rooms",
        "1.75, 2 (1.19)",
        (1.67,),
        (1.25,),
        of(name(ROOMS), ("beside_baseline", "core_x")),
        unit="times",
    ),
    Target(
        "the same with default turn taking, 4 rooms",
        "2.14, 2.34",
        (1.64,),
        (1.29,),
        of(name(FEW, turn_taking=True), ("beside_baseline", "core_x")),
        unit="times",
    ),
    Target(
        "end of speech to first audio heard, 8 rooms, p50 / p95",
        "421 / 441, 413 / 449",
        (400, 430),
        (380, 405),
        of(name(ROOMS), ("latency_ms", "p50"), ("latency_ms", "p95")),
    ),
    Target(  # set when the baseline was 364 / 389 ms
        "the same beyond the SDK alone in the same minutes",
        "57 / 52, 49 / 60",
        (36, 41),
        (16, 16),
        of(name(ROOMS), ("beside_baseline", "latency_ms", "p50"), ("beside_baseline", "latency_ms", "p95")),
    ),
    Target(
        "end of speech to first audio heard, default turn taking, 4 rooms, p50 / p95",
        "568 / 2768, 577 / 598",
        (540, 640),
        (480, 560),
        of(name(FEW, turn_taking=True), ("latency_ms", "p50"), ("latency_ms", "p95")),
    ),
    Target(
        "caller connects to agent's track subscribed, p50 / max",
        "561 / 648, 1746 / 3123",
        (450, 650),
        (360, 550),
        of(name(ROOMS), ("join_ms", "p50"), ("join_ms", "max")),
    ),
    Target(
        "job accepted to agent's track published, p50 / p95",
        "",
        (200, 400),
        (120, 400),
        of(name(ROOMS), ("job_ms", "p50"), ("job_ms", "p95")),
    ),
    Target("PSS per further room, all processes", "35, 81 (3 in one process)", (6,), (4,), _further, unit="MB"),
    Target("frames lost / underruns in 2 minutes, 8 rooms", "", (0, 0), (0, 0), _lost, unit=""),
    Target(
        "a turn in a room beyond one by websocket and the SDK's echo, p50",
        "",
        (40,),
        (20,),
        of("mouth-to-ear", ("ours_p50_ms",)),
    ),
)


def _beside_peer(
    measure: str, bounds: str, must: tuple[float, ...], aim: tuple[float, ...], calls: tuple[int, bool], *parts: str
) -> Target:
    """Return a target beside the peer. calls: rooms, and whether with default turn taking. parts: one a bound."""
    return Target(measure, bounds, must, aim, of(peer(*calls), *[("by_theirs", part) for part in parts]), unit="")


CALM, TURNS, MORE = PEER_CALLS = ((FEW, False), (FEW, True), (ROOMS, False))
CORE, LATENCY, JOIN = ("core",), ("latency_p50", "latency_p95"), ("join_p50", "join_max")

# The bounds above, divided by the figures of the peer on the day they were set.
BESIDE_PEER = (
    _beside_peer("core a room, 4 rooms", "as with 8", (0.95,), (0.71,), CALM, *CORE),
    _beside_peer("the same, 8 rooms", "0.080 by 0.084", (0.95,), (0.71,), MORE, *CORE),
    _beside_peer("the same with default turn taking, 4 rooms", "0.095 by 0.124", (0.77,), (0.60,), TURNS, *CORE),
    _beside_peer(
        "end of speech to first audio heard, 4 rooms, p50 / p95",
        "as with 8",
        (0.95, 0.98),
        (0.90, 0.92),
        CALM,
        *LATENCY,
    ),
    _beside_peer(
        "the same, 8 rooms, p50 / p95", "400 by 421, 430 by 441 ms", (0.95, 0.98), (0.90, 0.92), MORE, *LATENCY
    ),
    _beside_peer(
        "the same with default turn taking, 4 rooms, p50 / p95",
        "540 by 568, 640 by 2768 ms",
        (0.95, 0.23),
        (0.85, 0.20),
        TURNS,
        *LATENCY,
    ),
    _beside_peer(
        "caller connects to agent's track subscribed, 4 rooms, p50 / max",
        "as with 8",
        (0.80, 1.0),
        (0.64, 0.85),
        CALM,
        *JOIN,
    ),
    _beside_peer("the same, 8 rooms, p50 / max", "450 by 561, 650 by 648 ms", (0.80, 1.0), (0.64, 0.85), MORE, *JOIN),
)


def both(folder: Path) -> str:
    """Return the medians of Antiphon and of the peer as a Markdown table."""
    lines = [
        "| rooms | who | core a room | speech to answer, p50 / p95 ms | joining, p50 / max ms |",
        "|---|---|---|---|---|",
    ]
    for rooms, turn_taking in PEER_CALLS:
        found = read(folder, peer(rooms, turn_taking)) or {}
        for who, name in (("Antiphon", "ours"), ("LiveKit Agents", "theirs")):
            if took := found.get(name):
                calls = f"{rooms}" + ", default turn taking" * turn_taking
                latency = f"{took['latency_ms']['p50']:.0f} / {took['latency_ms']['p95']:.0f}"
                joining = f"{took['join_ms']['p50']:.0f} / {took['join_ms']['max']:.0f}"
                lines.append(f"| {calls} | {who} | {took['core_per_room']:.3f} | {latency} | {joining} |")
    return "\n".join(lines) + "\n"
