"""Present figures: medians of several runs with their spread, a table, and the change since the committed ones."""

import statistics
from collections.abc import Iterator
from typing import Any

WORSE_BY = 1.15  # runs within an hour differ by less; between hours the machine drifts by more
WITH_SPREAD = (
    "startup_ms",
    "overhead_ms",
    "four_hop_echo_ms",
    "core_per_room",
    "beside_baseline",
    "by_theirs",
    "latency_ms",
    "join_ms",
    "job_ms",
    "ratio_p50",
    "cpu_s_per_session_s",
    "memory_mb",
    "frames_lost",
)


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge runs: the median of each figure; with two runs or more, least and greatest in `spread`."""
    merged: dict[str, Any] = _merged(runs, statistics.median_low)
    if len(runs) > 1:
        merged["runs"] = len(runs)
        if "frames_lost" in merged:  # a run without losses does not make up for one with losses
            merged["frames_lost"] = max(run["frames_lost"] for run in runs)
        merged["spread"] = _merged([_figures(run) for run in runs], lambda values: [min(values), max(values)])
    return merged


def table(report: dict[str, Any]) -> str:
    """Return a report as a table."""
    spread = report.get("spread", {})
    runs = f", {report['runs']} runs: median (least-greatest)" if "runs" in report else ""
    lines = [_title(report) + runs]
    for name in ("startup_ms", "overhead_ms", "door_ms", "hearing_ms", "four_hop_echo_ms"):
        if name in report:
            lines.append(_row(name, report[name], spread.get(name)))
    lines += [_row(f"{step} ms", figures) for step, figures in report.get("steps_ms", {}).items()]
    if "turns" in report:
        lines.append(f"{'turns answered':>22} {report['turns']} of {report['turns_asked']}")
        lines.append(f"{'overhead / echo':>22} {report['ratio_p50']} at p50")
        cpu = {name: 1e3 * seconds for name, seconds in report["cpu_s_per_session_s"].items()}
        lines.append(_row("CPU ms a session-s", cpu))
        lines.append(f"{'cores used':>22} {report['cores']}, and {report['other_cores']} by everything else")
        lines.append(f"{'lost':>22} {report['frames_lost']} {report['lost'] or ''}")
        lines.append(f"{'calls that failed':>22} {report['calls_failed'] or 'none'}")
    if "memory_mb" in report:
        lines.append(_row("base MB", report["memory_mb"]["base"]))
        if "per_session" in report["memory_mb"]:
            lines.append(_row("MB a further session", report["memory_mb"]["per_session_of"]))
            lines.append(f"{'in all':>22} {report['memory_mb']['per_session']:.3f}")
    if "imports_ms" in report:
        lines.append(_row("longest to import, ms", report["imports_ms"]))
    return "\n".join(lines)


def compared(report: dict[str, Any], kept: dict[str, Any]) -> str:
    """Return each figure beside the committed one.

    `x` is now / committed. For milliseconds of a turn `x to echo` is the same after each was divided by the echo of
    its own run: what is left once the machine's day is taken out. `worse` and `better` stand where both are beyond
    WORSE_BY, and the figure beyond the spread of the committed runs.
    """
    lines = [f"against the last committed figures{_elsewhere(report, kept)}", _HEAD]
    drift = _echo(report) / _echo(kept)
    for name in ("overhead_ms", "hearing_ms", "four_hop_echo_ms", "cpu_s_per_session_s", "memory_mb", "startup_ms"):
        before, after = dict(_leaves(kept.get(name, {}), name)), dict(_leaves(report.get(name, {}), name))
        ranges = dict(_ranges(kept.get("spread", {}).get(name, {}), name))
        for key in after:
            if not before.get(key) or key.endswith("max"):
                continue
            ratio = after[key] / before[key]
            to_echo = ratio / drift if name in ("overhead_ms", "hearing_ms") else None
            low, high = ranges.get(key, (before[key], before[key]))
            shown = f"{to_echo:9.2f}" if to_echo is not None else " " * 9
            mark = _mark([ratio] if to_echo is None else [ratio, to_echo], after[key], low, high)
            lines.append(f"{key:>34} {before[key]:10.4g} {after[key]:10.4g} {ratio:6.2f} {shown}  {mark}".rstrip())
    return "\n".join(lines)


_HEAD = f"{'':>34} {'committed':>10} {'now':>10} {'x':>6} {'x to echo':>9}"


def _mark(ratios: list[float], now: float, low: float, high: float) -> str:
    if min(ratios) > WORSE_BY and now > high:
        return "worse"
    return "better" if max(ratios) < 1 / WORSE_BY and now < low else ""


def _echo(report: dict[str, Any]) -> float:
    return float(report.get("four_hop_echo_ms", {}).get("p50", 1.0))


def _elsewhere(report: dict[str, Any], kept: dict[str, Any]) -> str:
    """Return a warning if the figures are of another machine: then only ratios to the echo compare."""
    told = report.get("machine"), kept.get("machine")
    return f" (of another machine: {told[1]})" if all(told) and told[0] != told[1] else ""


def _title(report: dict[str, Any]) -> str:
    if "startup_ms" in report:
        return f"antiphon --help, {report['starts']} starts"
    if "sessions" not in report:
        return "memory"
    voice_activity = ", voice activity" if report["voice_activity"] else ""
    return f"{report['sessions']} sessions, {report['load']} load, {report['transport']}{voice_activity}"


def _row(name: str, figures: dict[str, float], spread: dict[str, list[float]] | None = None) -> str:
    shown = (
        f"{key} {value:7.2f}" + (f" ({spread[key][0]:.2f}-{spread[key][1]:.2f})" if spread else "")
        for key, value in figures.items()
    )
    return f"{name:>22} " + "  ".join(shown)


def _merged(runs: list[Any], choose: Any) -> Any:
    first = runs[0]
    if isinstance(first, dict):
        keys = {key: None for run in runs for key in run}
        return {key: _merged([run[key] for run in runs if key in run], choose) for key in keys}
    return choose(runs) if isinstance(first, int | float) and not isinstance(first, bool) else first


def _figures(run: dict[str, Any]) -> dict[str, Any]:
    return {name: run[name] for name in WITH_SPREAD if name in run}


def _leaves(figures: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(figures, dict):
        for key, value in figures.items():
            yield from _leaves(value, f"{name}.{key}")
    elif figures:
        yield name, float(figures)


def _ranges(figures: Any, name: str) -> Iterator[tuple[str, tuple[float, float]]]:
    if isinstance(figures, dict):
        for key, value in figures.items():
            yield from _ranges(value, f"{name}.{key}")
    else:
        yield name, (figures[0], figures[1])
