"""The health of providers, shared by all workers: one breaker for each provider and host. msgpack maps."""

import hashlib
from typing import Literal

import msgspec

from schemas.events.envelope import ProviderErrorKind

BUCKET = "breakers"  # of JetStream KV: token of a breaker -> BreakerState, for workers that start later


class BreakerKey(msgspec.Struct, frozen=True):
    """The part of the world that failed.

    stage: the kind of provider, such as `llm`. host: of the option `base_url`, "" for the vendor's own host.
    fingerprint: of the worker's keys if the vendor refused its key, else "". It says nothing about the keys.
    """

    stage: str
    provider: str
    host: str = ""
    fingerprint: str = ""

    @property
    def token(self) -> str:
        """Return the key as one token of the KV bucket."""
        parts = "\n".join((self.stage, self.provider, self.host, self.fingerprint))
        return hashlib.sha256(parts.encode(errors="surrogatepass")).hexdigest()[:32]


class BreakerState(msgspec.Struct, frozen=True):
    """One breaker at the moment of its last change. Times are UTC microseconds.

    state: `closed`, sessions use the provider; `open`, they do not; `half_open`, one worker tries it.
    retry_us: open, when one worker may try it; half_open, when another worker may, because that one never reported.
    tries: attempts that failed in a row since it opened. kind: of the error that opened it. worker: that changed it.
    """

    key: BreakerKey
    state: Literal["closed", "open", "half_open"]
    changed_us: int
    retry_us: int = 0
    tries: int = 0
    kind: ProviderErrorKind | None = None
    worker: str = ""
