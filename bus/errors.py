"""What can go wrong between two processes; each message says what to do."""


class BusError(Exception):
    """Base of what the bus raises."""


class Unreachable(BusError):
    """No NATS server answers at the URL, or it refuses us."""


class NoResponders(BusError):
    """Nobody serves that subject: known at once."""


class NoAnswer(BusError):
    """Somebody serves that subject but did not answer in time."""


class ServiceError(BusError):
    """What a service refuses with: a code in the manner of HTTP and one line for a person."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
