"""Figures for people: medians of several runs with their spread, a table, the change since the last committed ones."""

import statistics
from collections.abc import Iterator
from typing import Any

WORSE_BY = 1.15  # runs of one hour differ by less; the machine itself drifts by more between hours


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The runs as one: the median of each figure; from two runs on, its least and greatest in `spread`."""
    merged: dict[str, Any] = _merged(runs, statistics.median_low)
    if len(runs) > 1:
        merged["runs"] = len(runs)
        merged["spread"] = _merged([_figures(run) for run in runs], lambda values: [min(values), max(values)])
    return merged


def table(report: dict[str, Any]) -> str:
    """All of a report that a person wants to see."""
    spread = report.get("spread", {})
    lines = [
        f"{report['sessions']} sessions, {report['load']} load, {report['transport']}"
        if "sessions" in report
        else "memory"
    ]
    for name in ("overhead_ms", "door_ms", "hearing_ms", "four_hop_echo_ms"):
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
    lines.append(_row("base MB", report["memory_mb"]["base"]))
    if "per_session" in report["memory_mb"]:
        lines.append(_row("MB a further session", report["memory_mb"]["per_session_of"]))
        lines.append(f"{'in all':>22} {report['memory_mb']['per_session']:.3f}")
    return "\n".join(lines)


def compared(report: dict[str, Any], kept: dict[str, Any]) -> str:
    """Each figure as a ratio to the last committed one, those that say something on another machine, too, first."""
    lines = ["against the last committed figures:"]
    for name in ("ratio_p50", "overhead_ms", "cpu_s_per_session_s", "memory_mb"):
        before, after = dict(_leaves(kept.get(name, {}), name)), dict(_leaves(report.get(name, {}), name))
        for key in after:
            if before.get(key) and not key.endswith("max"):
                ratio = after[key] / before[key]
                worse = "   worse" if ratio > WORSE_BY else ""
                lines.append(f"{key:>40} {before[key]:10.4g} -> {after[key]:10.4g}   x {ratio:.2f}{worse}")
    return "\n".join(lines)


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
    return {name: run[name] for name in ("overhead_ms", "ratio_p50", "cpu_s_per_session_s", "memory_mb") if name in run}


def _leaves(figures: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(figures, dict):
        for key, value in figures.items():
            yield from _leaves(value, f"{name}.{key}")
    elif figures:
        yield name, float(figures)
