"""Agents for tests: scripted providers make them quick and the same every time."""

from typing import Any

from schemas.agent import AgentDocument


def scripted_agent(agent: str, **changes: Any) -> AgentDocument:
    """Return an agent whose providers are all scripted. Raises pydantic.ValidationError.

    changes: `stt`, `llm` and `tts` are options of the scripted provider, all others fields of the document (hence Any).
    """
    kinds = {kind: {"provider": "scripted", "options": changes.pop(kind, {})} for kind in ("stt", "llm", "tts")}
    return AgentDocument.model_validate({"id": agent, **kinds, **changes})


def listening_agent(agent: str, *replies: str, **document: Any) -> AgentDocument:
    """Return an agent that uses the default recognizer, answers by script, and speaks in tones that can be read back.

    replies: one for each turn. document: further fields of the document (hence Any).
    """
    return AgentDocument.model_validate(
        {
            "id": agent,
            "llm": {"provider": "scripted", "options": {"replies": list(replies)}},
            "tts": {"provider": "scripted"},
            **document,
        }
    )
