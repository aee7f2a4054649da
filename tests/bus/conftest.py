"""Every test here talks to a real nats-server."""

from tests.kit.bus import bus, nats

__all__ = ["bus", "nats"]
