"""Time `antiphon --help` from start to end, and its imports."""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench import report
from bench.measure import machine, percentiles

STARTS = 20
COMMAND = [sys.executable, "-m", "cli.main", "--help"]  # as the console script
SHOWN = 8  # the slowest packages


def startup(starts: int = STARTS) -> dict[str, Any]:
    """Return the report as plain data. imports: ms to load a package, without the packages that it loads."""
    _run(COMMAND)  # reads the files from the disk once
    return {
        "machine": machine(),
        "starts": starts,
        "startup_ms": percentiles([_run(COMMAND) for _ in range(starts)]),
        "imports_ms": imports(),
    }


def _run(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return (time.perf_counter() - began) * 1000


def imports() -> dict[str, float]:
    """Return the slowest packages: name -> ms, by the interpreter's own import log, which slows it down."""
    told = subprocess.run([COMMAND[0], "-X", "importtime", *COMMAND[1:]], capture_output=True, text=True, check=True)
    took: Counter[str] = Counter()
    for line in told.stderr.splitlines():
        columns = line.removeprefix("import time:").split("|")
        if len(columns) == 3 and columns[0].strip().isdigit():  # not the heading
            took[columns[2].strip().partition(".")[0]] += int(columns[0])
    return {name: round(us / 1000, 1) for name, us in took.most_common(SHOWN)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.startup", description=__doc__)
    parser.add_argument("--starts", type=int, default=STARTS)
    parser.add_argument("--repeat", type=int, default=1, help="runs; figures are their medians, with the spread")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    asked = parser.parse_args()
    found = report.median([startup(asked.starts) for _ in range(asked.repeat)])
    print(report.table(found))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
