"""How far a caller may run ahead of real time: pure."""


class RateLimiter:
    """For what takes its time: `ahead_s` of it may come at once, and then no more than real time lets through."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s
        self._until = 0.0  # when all that was taken will have lasted

    def take(self, lasts_s: float, now: float) -> bool:
        """Whether something that lasts so long may come now; what may not is not counted. now: monotonic seconds."""
        until = max(self._until, now) + lasts_s
        if until > now + self._ahead_s:
            return False
        self._until = until
        return True
