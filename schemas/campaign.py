"""What a person writes beside agents: campaigns, which change an agent for some calls, and phone numbers."""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from schemas.subjects import check_id

_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z")  # ITU-T E.164: at most 15 digits; shorter ones are short codes


class CampaignDocument(BaseModel):
    """Overrides of an agent for the calls of one campaign.

    overrides: fields of an agent document, without `id`. A mapping changes the fields that it names; a list or a text
    replaces the whole value; null takes the agent's value away, so that the default counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    agent: str
    campaign: str
    overrides: dict[str, Any] = {}

    @field_validator("agent", "campaign")
    @classmethod
    def _is_id(cls, value: str) -> str:
        return check_id(value, "id")


class PhoneNumber(BaseModel):
    """A number that callers dial. agent, campaign: which of them answers; an empty `agent` removes the number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: str
    agent: str
    campaign: str = ""

    @field_validator("number")
    @classmethod
    def _is_number(cls, value: str) -> str:
        if not _E164.match(value):
            raise ValueError(f"{value[:32]!r} is no phone number. Write it in full, such as +15551234567.")
        return value

    @field_validator("agent", "campaign")
    @classmethod
    def _is_id_or_empty(cls, value: str) -> str:
        return check_id(value, "id") if value else value
