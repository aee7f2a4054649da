"""Bounds how far a caller may run ahead of real time. Pure."""


class RateLimiter:
    """A token bucket: `ahead_s` seconds of input may come at once, and afterwards no more than real time allows."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s
        self._until = 0.0  # when everything that was taken would be over in real time, monotonic seconds

    def take(self, lasts_s: float, now: float) -> bool:
        """Return whether input of `lasts_s` may come now; refused input is not counted. now: monotonic seconds."""
        until = max(self._until, now) + lasts_s
        if until > now + self._ahead_s:
            return False
        self._until = until
        return True
