"""Exceptions of the bus. Each text names the cause and, where there is one, the remedy."""


class BusError(Exception):
    """Base class of every exception that the bus raises."""


class Unreachable(BusError):
    """No NATS server answers at the URL, the server refuses this process, or JetStream does not answer."""


class NoResponders(BusError):
    """No process serves the subject. The server reports this at once."""


class NoAnswer(BusError):
    """A process serves the subject and did not answer in time."""


class ServiceError(BusError):
    """A service refused a request. code: in the manner of HTTP, such as "404". The text is one line for a person."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
