"""A bus for the commands that need one."""

from tests.kit.bus import bus, nats

__all__ = ["bus", "nats"]
