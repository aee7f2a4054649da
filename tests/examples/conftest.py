"""A bus for the programs that listen to one."""

from tests.kit.bus import bus, nats

__all__ = ["bus", "nats"]
