"""Identities of ingress and egress as participants of a room."""

import re


def ingress_identity(session: str) -> str:
    """Return the identity of the hidden participant that listens for ingress."""
    return f"ingress-{session}"


def agent_identity(session: str) -> str:
    """Return the identity of the agent. It survives a takeover: LiveKit then removes the old participant."""
    return f"agent-{session}"


def session_of(identity: str) -> str:
    """Return the session of an identity made here; "" for any other, even one that begins in the same way."""
    found = re.fullmatch("(?:ingress|agent)-([0-9a-f]{32})", identity)
    return found[1] if found else ""
