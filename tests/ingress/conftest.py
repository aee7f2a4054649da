"""A server and a connection of the test's own."""

from antiphon_testing.bus import bus, nats

__all__ = ["bus", "nats"]
