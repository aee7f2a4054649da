"""A bus for the commands that need one."""

from antiphon_testing.bus import bus, nats

__all__ = ["bus", "nats"]
