"""Every test here talks to a real nats-server."""

from antiphon_testing.bus import bus, nats

__all__ = ["bus", "nats"]
