"""A bus for the programs that listen to one."""

from antiphon_testing.bus import bus, nats

__all__ = ["bus", "nats"]
