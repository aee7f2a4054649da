"""A LiveKit room: `hearing.py` is ingress in it, hidden; `speaking.py` is egress in it, the agent that people see.

The SDK is imported here and nowhere else, and this package is imported only for a call that comes through a room.
"""
