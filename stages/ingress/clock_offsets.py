"""How far the clocks of workers are off from the clock of ingress. Pure; times are UTC microseconds.

Answers to claims and heartbeats carry the worker's clock. A message arrives after it was sent, so each one shows a
lower bound of the offset: the worker's clock minus ours at arrival. The highest bound of the last seconds is closest:
its error is the shortest time on the way, below 1 ms on one host. Half of a claim's round trip would be off by half of
the time that the worker takes to subscribe, measured as 70 ms on a loaded machine.
"""

from typing import NamedTuple

FRESH_US = 30 * 1_000_000  # two quartz clocks drift apart by up to 100 us a second: 3 ms meanwhile
MAX_WORKERS = 1_000  # the one that was heard of first gives way


class Measured(NamedTuple):
    """The highest bound, and when it was measured."""

    offset_us: int
    at_us: int


class ClockOffsets:
    """The offset of each worker."""

    def __init__(self) -> None:
        self._measured: dict[str, Measured] = {}

    def note(self, worker: str, worker_us: int, received_us: int, sent_us: int | None = None) -> None:
        """Take in a message that carries the worker's clock.

        sent_us: for an answer, when the request was sent. The worker's clock cannot be earlier: if it is, it was set.
        """
        known = self._measured.get(worker)
        new = Measured(worker_us - received_us, received_us)
        stale = known is None or not 0 <= received_us - known.at_us < FRESH_US
        was_set = known is not None and sent_us is not None and worker_us - sent_us < known.offset_us
        if known is None or stale or was_set or new.offset_us > known.offset_us:
            self._measured[worker] = new
        if len(self._measured) > MAX_WORKERS:
            del self._measured[next(iter(self._measured))]

    def of(self, worker: str) -> int:
        """Return the clock of `worker` minus ours, 0 if it was never measured."""
        measured = self._measured.get(worker)
        return measured.offset_us if measured else 0
