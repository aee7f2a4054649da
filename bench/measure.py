"""Compute figures from the events of calls, and read the use of processor and memory from /proc."""

import os
import platform
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from bench.load import FIRST_AUDIO_MS, FIRST_TOKEN_MS
from schemas import events
from schemas.audio import CALLER_HZ

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
STEAL = 8  # index of a word in the first line of /proc/stat
UTIME = 11  # index after the name in /proc/PID/stat (14 in proc(5)); stime and both of dead children follow
LOST = (  # counters of lost messages; the other counters are of stale messages, which are dropped on purpose
    "gaps",
    "undelivered",
    "unknown_session",
    "bad_frame",
    "bad_event",
    "wrong_rate",
    "audio_refused",
    "early_frame_dropped",
    "caller_too_fast",
    "bad_caller_frame",
)


# --- the events ----------


class Turns:
    """The turns of all calls whose final transcript was published from `since` to `until`, UTC microseconds."""

    def __init__(self, call_events: Iterable[events.Event], since: int = 0, until: int = 2**63) -> None:
        self._finals: dict[tuple[str, int], int] = {}
        self._answers: dict[tuple[str, int], int] = {}
        self._started: dict[tuple[str, int], int] = {}
        self._sentences: dict[tuple[str, int], int] = {}
        self._playing: dict[tuple[str, int], int] = {}
        self._late: dict[str, list[float]] = {}
        for event in call_events:
            match event:
                case events.SpeechEnded() if since <= event.time < until:
                    spoken_ms = event.until_sample * 1000 / CALLER_HZ
                    self._late.setdefault(event.session, []).append(event.time / 1000 - spoken_ms)
                case events.TranscriptFinal() if since <= event.time < until:
                    self._finals[event.session, event.utterance] = event.time
                case events.TurnStarted():
                    self._answers[event.session, event.turn] = event.answers
                    self._started[event.session, event.turn] = event.time
                case events.SentenceReady():
                    self._sentences.setdefault((event.session, event.turn), event.time)
                case events.PlaybackStarted():
                    self._playing[event.session, event.turn] = event.time

    @property
    def asked(self) -> int:
        """Return how many questions were asked in that time."""
        return len(self._finals)

    def overheads_ms(self) -> list[float]:
        """Return ms per turn from the final transcript to the first audio at egress, less the providers' delays."""
        return [(heard - final) / 1000 - FIRST_TOKEN_MS - FIRST_AUDIO_MS for final, _, _, heard in self._whole()]

    def door_ms(self, arrivals: Mapping[str, list[int]]) -> list[float]:
        """Return ms from the first audio at egress to its arrival. arrivals: session -> UTC microseconds."""
        return [
            (min(after) - heard) / 1000
            for (session, turn), heard in self._playing.items()
            if (session, self._answers.get((session, turn), -1)) in self._finals
            and (after := [came for came in arrivals.get(session, []) if came >= heard])
        ]

    def hearing_ms(self) -> list[float]:
        """Return by how many ms each end of speech was published later than the fastest one of its call."""
        return [late - min(all_late) for all_late in self._late.values() for late in all_late]

    def steps_ms(self) -> dict[str, list[float]]:
        """Return the overhead in three steps: to the decision, to the first sentence, to the first audio at egress."""
        whole = list(self._whole())
        return {
            "decide": [(started - final) / 1000 for final, started, _, _ in whole],
            "model": [(sentence - started) / 1000 - FIRST_TOKEN_MS for _, started, sentence, _ in whole],
            "voice": [(heard - sentence) / 1000 - FIRST_AUDIO_MS for _, _, sentence, heard in whole],
        }

    def _whole(self) -> Iterable[tuple[int, int, int, int]]:
        for (session, turn), heard in self._playing.items():
            final = self._finals.get((session, self._answers.get((session, turn), -1)))
            if final is not None:
                yield final, self._started[session, turn], self._sentences[session, turn], heard


def percentiles(values: list[float]) -> dict[str, float]:
    """Return p50, p95, p99 and max, to two decimals. Raises SystemExit for fewer than two values."""
    if len(values) < 2:
        raise SystemExit("cannot report: fewer than two turns were answered. Run longer.")
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {
        "p50": round(cuts[49], 2),
        "p95": round(cuts[94], 2),
        "p99": round(cuts[98], 2),
        "max": round(max(values), 2),
    }


def lost(counters: Iterable[dict[str, int]]) -> dict[str, int]:
    """Return the losses among the counters of workers: reason -> how often."""
    total: Counter[str] = sum((Counter(counted) for counted in counters), Counter())
    return {reason: total[reason] for reason in LOST if total[reason]}


def failed(call_events: Iterable[events.Event]) -> dict[str, int]:
    """Return the calls that did not end by a hang-up: reason -> how many."""
    reasons = Counter(event.reason for event in call_events if isinstance(event, events.SessionClosed))
    return {reason: times for reason, times in reasons.items() if reason != "hangup"}


# --- the kernel -------------------------------------------------------------------------------------------------------


def machine() -> str:
    """Return processor, cores and Python. Figures of different machines compare by their ratios alone."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown processor"
    )
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def cpu_s(pid: int) -> float:
    """Return the seconds of processor time of a process. /proc/stat has the sum of all, but is unreliable."""
    return sum(_ticks(Path(f"/proc/{pid}/stat"))[:2]) / TICKS_A_SECOND


def loop_s(pid: int) -> float:
    """Return the seconds of processor time of a process's main thread, which runs the event loop."""
    return sum(_ticks(Path(f"/proc/{pid}/task/{pid}/stat"))[:2]) / TICKS_A_SECOND


def others_s() -> float:
    """Return the seconds of all processes but this one, and of their children that have ended."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # the process has ended meanwhile
            total += sum(_ticks(stat))
    return total / TICKS_A_SECOND - cpu_s(os.getpid())


def stolen_s() -> float:
    """Return the seconds of processor time that the host gave to other guests (steal in proc(5))."""
    return int(Path("/proc/stat").read_text().split(maxsplit=STEAL + 1)[STEAL]) / TICKS_A_SECOND


class Theft:
    """The processor time that the host gives to other guests from now on."""

    def __init__(self) -> None:
        self._stolen_s, self._began = stolen_s(), time.monotonic()

    @property
    def cores(self) -> float:
        """Return the average since the start, in cores."""
        return (stolen_s() - self._stolen_s) / (time.monotonic() - self._began)


def _ticks(stat: Path) -> list[int]:
    return [int(ticks) for ticks in stat.read_text().rpartition(")")[2].split()[UTIME : UTIME + 4]]


def pss_mb(pid: int) -> float:
    """Return the megabytes of a process; pages that processes share are divided among them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1_000_000
    raise SystemExit(f"cannot read the memory of process {pid}: /proc has no PSS for it")


def below(pid: int, name: str) -> int:
    """Return the process called `name` among the descendants of `pid`. Raises LookupError."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            if Path(f"/proc/{child}/comm").read_text().strip() == name:
                return child
            try:
                return below(child, name)
            except LookupError:
                continue
    raise LookupError(f"cannot find process {name} below {pid}")
