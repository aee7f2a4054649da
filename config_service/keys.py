"""Names of what is configured: an agent, or one of its campaigns. Pure."""

from typing import NamedTuple

ALONE = ""  # the campaign of an agent without one


class Key(NamedTuple):
    """An agent, or a campaign of it."""

    agent: str
    campaign: str = ALONE


def key_text(key: Key) -> str:
    """Return `agent` or `agent:campaign`."""
    return f"{key.agent}:{key.campaign}" if key.campaign else key.agent


def cache_key(key: Key) -> str:
    """Return `agent` or `agent.campaign`: no id holds a dot, and JetStream KV allows no colon."""
    return f"{key.agent}.{key.campaign}" if key.campaign else key.agent


def read_cache_key(text: str) -> Key:
    """Return the key that `cache_key` wrote as `text`."""
    agent, _dot, campaign = text.partition(".")
    return Key(agent, campaign)


def read_key(text: str) -> Key:
    """Return the key that `key_text` wrote as `text`."""
    agent, _colon, campaign = text.partition(":")
    return Key(agent, campaign)
