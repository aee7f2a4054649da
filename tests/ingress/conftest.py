"""A server and a connection of the test's own."""

from tests.kit.bus import bus, nats

__all__ = ["bus", "nats"]
