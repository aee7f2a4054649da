"""The targets, and whether the figures of a folder reach them: the table of docs/performance.md."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

CARRIED_P95_MS = 100.0
ANSWERED = 0.99  # of the questions: one at the edge of the measured time may be cut off
CAPACITY = re.compile(r"capacity-(\d+)(-vad)?\.json")


class Figure(NamedTuple):
    """A figure, and the least and the greatest of its runs."""

    value: float
    least: float
    greatest: float


@dataclass(frozen=True)
class Target:
    """One row. must, aim: a bound for each figure, from below with `at_least`. find: returns the figures, or None."""

    measure: str
    peers: str
    must: tuple[float, ...]
    aim: tuple[float, ...]
    find: Callable[[Path], list[Figure] | None]
    at_least: bool = False
    unit: str = "ms"

    def kept(self, found: list[Figure], bounds: tuple[float, ...]) -> bool:
        values = [figure.value for figure in found]
        pairs = zip(values, bounds, strict=True)
        return all(value >= bound if self.at_least else value <= bound for value, bound in pairs)


# --- where the figures are --------------------------------------------------------------------------------------------


def read(folder: Path, name: str) -> dict[str, Any] | None:
    path = folder / f"{name}.json"
    return dict(json.loads(path.read_text())) if path.exists() else None


def capacities(folder: Path, voice_activity: bool) -> list[Path]:
    """Return the files of the capacity load with or without voice activity detection."""
    found = [(path, CAPACITY.fullmatch(path.name)) for path in sorted(folder.glob("capacity-*.json"))]
    return [path for path, match in found if match and bool(match[2]) == voice_activity]


def carried(found: dict[str, Any]) -> bool:
    """Return whether the machine carried the calls of a run."""
    waits = [found["overhead_ms"]]
    if found.get("hearing_ms"):  # lateness counts, too; the first reports do not have it
        waits.append(found["hearing_ms"])
    return bool(
        all(wait["p95"] <= CARRIED_P95_MS for wait in waits)
        and found["turns"] >= ANSWERED * found["turns_asked"]
        and not found["frames_lost"]
        and not found["calls_failed"]
    )


def of(name: str, *keys: tuple[str, ...]) -> Callable[[Path], list[Figure] | None]:
    """Return a function that reads the figures at `keys` of the report `name`, with their spread."""

    def find(folder: Path) -> list[Figure] | None:
        found = read(folder, name)
        if found is None or {} in [_at(found, key) for key in keys]:  # a report from before this figure existed
            return None
        return [Figure(_at(found, key), *(_at(found.get("spread", {}), key) or [_at(found, key)] * 2)) for key in keys]

    return find


def _at(found: Any, key: tuple[str, ...]) -> Any:
    for part in key:
        found = found.get(part, {})
    return found


def _most(voice_activity: bool) -> Callable[[Path], list[Figure] | None]:
    def find(folder: Path) -> list[Figure] | None:
        runs = [json.loads(path.read_text()) for path in capacities(folder, voice_activity)]
        most = max((run["sessions"] for run in runs if carried(run)), default=None)
        return None if most is None else [Figure(most, most, most)]

    return find


def _heaviest(folder: Path) -> list[Figure] | None:
    """Return the base of the heaviest worker; config service and nats-server are no workers."""
    found = read(folder, "memory")
    if found is None:
        return None
    most = max(mb for name, mb in found["memory_mb"]["base"].items() if name not in ("config", "nats"))
    return [Figure(most, most, most)]


# --- the targets -----------------------------------------------------------------------------------------------------

TARGETS = (
    Target(
        "overhead per turn, 1 session, p50 / p99",
        "Pipecat 4.3 / 6.7, LiveKit Agents 11.0 / 12.9",
        (4, 8),
        (2.5, 5),
        of("latency-1", ("overhead_ms", "p50"), ("overhead_ms", "p99")),
    ),
    Target(
        "the same, 100 sessions, p95 / p99 / frames lost",
        "LiveKit 18 / 122, Pipecat collapsed at 40",
        (15, 40, 0),
        (8, 15, 0),
        of("latency-100", ("overhead_ms", "p95"), ("overhead_ms", "p99"), ("frames_lost",)),
    ),
    Target(
        "sessions that the machine carries, p95 overhead ≤ 100 ms",
        "LiveKit 350, Pipecat 58",
        (300,),
        (440,),
        _most(voice_activity=False),
        at_least=True,
        unit="",
    ),
    Target(
        "the same with voice activity on every session",
        "LiveKit 54, Pipecat 16",
        (180,),
        (260,),
        _most(voice_activity=True),
        at_least=True,
        unit="",
    ),
    Target(
        "memory per further session, all processes",
        "1.0 MB (deployed: 128 MB a call), 56 MB",
        (1.5,),
        (1.2,),
        of("memory", ("memory_mb", "per_session")),
        unit="MB",
    ),
    Target("a worker's base, PSS, the heaviest", "386 MB, 183 MB", (70,), (50,), _heaviest, unit="MB"),
    Target(
        "`antiphon --help`, p50 / p95",
        "",
        (500, 500),
        (200, 200),
        of("startup", *[("startup_ms", p) for p in ("p50", "p95")]),
    ),
)


def table(folder: Path, targets: Sequence[Target] = TARGETS, peers: str = "peers") -> str:
    """Return the targets as a Markdown table. peers: the head of the second column."""
    head = f"| measure | {peers} | must | aim | measured (least to greatest) | |"
    lines = [head, "|---|---|---|---|---|---|"]
    for target in targets:
        found = target.find(folder)
        must, aim = (" / ".join(f"{bound:g}" for bound in bounds) for bounds in (target.must, target.aim))
        told = "not measured"
        if found is not None:
            told = f"{' / '.join(_told(figure) for figure in found)} {target.unit}".rstrip()
        lines.append(f"| {target.measure} | {target.peers} | {must} | {aim} | {told} | {_verdict(target, found)} |")
    return "\n".join(lines) + "\n"


def _told(figure: Figure) -> str:
    spread = f" ({figure.least:.4g} to {figure.greatest:.4g})" if figure.least != figure.greatest else ""
    return f"{figure.value:.4g}{spread}"


def _verdict(target: Target, found: list[Figure] | None) -> str:
    if found is None:
        return ""
    if target.kept(found, target.aim):
        return "aim reached"
    return "kept" if target.kept(found, target.must) else "**not kept**"


def runs(folder: Path) -> str:
    """Return every run of the pipeline as a Markdown table."""
    lines = [
        "| load, sessions | runs | turns | overhead p50 / p95 / p99 ms | echo p50 ms | ratio "
        "| CPU ms a session-second | cores | other work | lost |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    piped = [run for run in found if "overhead_ms" in run]
    for run in sorted(piped, key=lambda run: (run["load"] != "latency", run["voice_activity"], run["sessions"])):
        overhead = " / ".join(f"{run['overhead_ms'][percentile]:.1f}" for percentile in ("p50", "p95", "p99"))
        turns = f"{run['turns']:,}" + (f" of {run['turns_asked']:,}" if run["turns"] != run["turns_asked"] else "")
        name = f"{run['load']}, {run['sessions']}" + ", voice activity" * run["voice_activity"]
        name += f", {run['transport']}" * (run["transport"] != "null")
        failed = "".join(f", {number} calls: {reason}" for reason, number in run["calls_failed"].items())
        cpu_ms = 1000 * run["cpu_s_per_session_s"]["total"]
        echo_ms = run["four_hop_echo_ms"]["p50"]
        cells = (
            name, run.get("runs", 1), turns, overhead, f"{echo_ms:.1f}", f"{run['ratio_p50']:.1f}", f"{cpu_ms:.1f}",
            f"{run['cores']:.2f}", f"{run['other_cores']:.2f}", f"{run['frames_lost']}{failed}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join([*lines, "", *_memory(folder), _machines(found), ""])


def _memory(folder: Path) -> list[str]:
    """Return the memory of each process as a Markdown table."""
    found = read(folder, "memory")
    if found is None:
        return []
    parts = (found["memory_mb"]["base"], found["memory_mb"]["per_session_of"])
    base, further = (", ".join(f"{name} {mb:g}" for name, mb in part.items()) for part in parts)
    return [f"Base memory in MB: {base}. One more session: {further}.", ""]


def _machines(found: list[dict[str, Any]]) -> str:
    """Return the machine of the figures as one line."""
    machines = sorted({run.get("machine", "an unnamed machine") for run in found})
    return f"Taken on {' and on '.join(machines)}." if machines else "Nothing was measured yet."
