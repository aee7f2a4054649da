"""The circuit breakers of providers as a state machine without clock or network. Pure.

A breaker opens after two failures in a row, or after one that cost the caller a timeout. An open breaker lets one
attempt through after 1 s, and after 2, 4 and 5 s if that fails: a vendor that recovers is used again within 10 s.
A vendor that refuses the key, or asks to wait, is asked later.
"""

from typing import Literal, NamedTuple

from schemas.breakers import BreakerKey, BreakerState
from schemas.events import ProviderErrorKind

FAILURES_TO_OPEN = 2  # one lost connection is no outage
TOGETHER_US = 10_000_000  # failures further apart than this are not counted together
WAITS_US = (1_000_000, 2_000_000, 4_000_000, 5_000_000)  # before each attempt; the last one again and again
KEY_WAIT_US = 60_000_000  # a key that is refused stays wrong until a person mends it
MAX_RETRY_AFTER_US = 300_000_000  # a vendor that asks for more is asked every 5 minutes
ATTEMPT_US = 3_000_000  # an attempt without a result after this long gives way to another worker's

OF_THE_VENDOR: frozenset[ProviderErrorKind] = frozenset({"connection", "server", "timeout"})
OF_THE_KEY: frozenset[ProviderErrorKind] = frozenset({"auth", "quota"})

Verdict = Literal["use", "avoid", "attempt"]


class _Failures(NamedTuple):
    number: int
    last_us: int


class Breakers:
    """The breakers that one worker knows of. worker: its id. fingerprint: of its keys."""

    def __init__(self, worker: str, fingerprint: str) -> None:
        self._worker = worker
        self._fingerprint = fingerprint
        self._states: dict[BreakerKey, BreakerState] = {}
        self._failures: dict[BreakerKey, _Failures] = {}

    @property
    def states(self) -> tuple[BreakerState, ...]:
        """Return every breaker that has ever opened."""
        return tuple(self._states.values())

    def verdict(self, key: BreakerKey, now_us: int) -> tuple[Verdict, BreakerState | None]:
        """Return whether a session may use the provider, and the breaker that forbids it or needs an attempt."""
        found: tuple[Verdict, BreakerState | None] = ("use", None)
        for one in self._both(key):
            state = self._states.get(one)
            if state is None or state.state == "closed":
                continue
            if now_us < state.retry_us:
                return "avoid", state
            found = "attempt", state
        return found

    def attempt(self, state: BreakerState, now_us: int) -> BreakerState:
        """Return the breaker while this worker tries the provider, to be shared before the attempt."""
        return self._change(state.key, "half_open", now_us, ATTEMPT_US, state.tries, state.kind)

    def failed(
        self, key: BreakerKey, kind: ProviderErrorKind, retry_after_s: float | None, now_us: int
    ) -> BreakerState | None:
        """Count a failure. Return the breaker if it changed, to be shared."""
        if kind not in OF_THE_VENDOR | OF_THE_KEY:
            return None  # the request or the document is wrong, not the provider
        one = self._of_the_key(key) if kind in OF_THE_KEY else key
        before = self._failures.get(one)
        number = before.number + 1 if before and now_us - before.last_us < TOGETHER_US else 1
        self._failures[one] = _Failures(number, now_us)
        state = self._states.get(one)
        if state is not None and state.state == "open" and now_us < state.retry_us:
            return None  # of a request from before it opened
        tried = state is not None and state.state != "closed"
        at_once = tried or kind == "timeout" or kind in OF_THE_KEY
        if number < FAILURES_TO_OPEN and not at_once:
            return None
        tries = state.tries + 1 if state is not None and tried else 0
        return self._change(one, "open", now_us, _wait_us(kind, retry_after_s, tries), tries, kind)

    def succeeded(self, key: BreakerKey, now_us: int) -> list[BreakerState]:
        """Count a success. Return the breakers that it closes, to be shared."""
        closed = []
        for one in self._both(key):
            self._failures.pop(one, None)
            state = self._states.get(one)
            if state is not None and (
                state.state == "half_open" or (state.state == "open" and now_us >= state.retry_us)
            ):
                closed.append(self._change(one, "closed", now_us, 0, 0, None))
        return closed

    def learn(self, state: BreakerState) -> None:
        """Take over the breaker of another worker if it is newer."""
        known = self._states.get(state.key)
        if known is None or state.changed_us > known.changed_us:
            self._states[state.key] = state
            self._failures.pop(state.key, None)

    def _change(
        self,
        key: BreakerKey,
        to: Literal["closed", "open", "half_open"],
        now_us: int,
        wait_us: int,
        tries: int,
        kind: ProviderErrorKind | None,
    ) -> BreakerState:
        known = self._states.get(key)
        changed_us = max(now_us, known.changed_us + 1) if known else now_us  # clocks of two workers may differ
        state = BreakerState(key, to, changed_us, now_us + wait_us, tries, kind, self._worker)
        self._states[key] = state
        return state

    def _of_the_key(self, key: BreakerKey) -> BreakerKey:
        return BreakerKey(key.stage, key.provider, key.host, self._fingerprint)

    def _both(self, key: BreakerKey) -> tuple[BreakerKey, BreakerKey]:
        return key, self._of_the_key(key)


def _wait_us(kind: ProviderErrorKind, retry_after_s: float | None, tries: int) -> int:
    wait_us = WAITS_US[min(tries, len(WAITS_US) - 1)]
    if retry_after_s is not None:
        return min(max(wait_us, int(retry_after_s * 1_000_000)), MAX_RETRY_AFTER_US)
    return KEY_WAIT_US if kind in OF_THE_KEY else wait_us
