"""The options that every vendor of voices shares. Each adapter adds its own, and its defaults."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from stages.tts.pieces import spoken

MAX_PRONUNCIATIONS = 500
URL = r"^(https?|wss?)://"

Name = Annotated[str, Field(min_length=1, max_length=200)]  # of a model or a voice
# No space and no sign that would end a path or a query: these names become a part of a URL.
PathName = Annotated[str, Field(pattern=r"^[\w.-]{1,200}$")]


class VoiceOptions(BaseModel):
    """language: of the voice. pronunciations: word -> the spelling with which the voice says it.

    base_url: None is the operator's URL for this vendor, else the vendor's own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Annotated[str, Field(min_length=2, max_length=35)] = "en"
    pronunciations: Annotated[dict[Name, Name], Field(max_length=MAX_PRONUNCIATIONS)] = {}
    base_url: Annotated[str, Field(pattern=URL)] | None = None

    def spoken(self, text: str) -> str:
        """Return a sentence as the vendor gets it; empty if it has nothing to say."""
        return spoken(text, self.language, self.pronunciations)

    @property
    def languages(self) -> tuple[str, ...]:
        """Return the languages that the request names for this voice; empty where the vendor detects them."""
        return () if self.language == "multi" else (self.language,)
