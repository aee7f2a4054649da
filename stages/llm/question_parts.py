"""Split what a caller asks at once into its parts: pure, English only.

"What does a check-up cost, and can I pay by card?" has two parts, "Are you open on Saturday and on Sunday?" as well.
"""

import re

MOST_PARTS = 3  # an answer of more facts is longer than a caller can remember

_QUESTION = (
    "what|when|where|who|whose|which|why|how|can|could|may|do|does|did|is|are|was|will|would|should|have|has|"
    r"what's|where's|who's|how's|i(?:'d| would| want| need)"
)
_SENTENCES = re.compile(r"[.?!;]+\s+(?:(?:and|but|also|plus)\b,?\s+)?", re.IGNORECASE)
_QUESTIONS = re.compile(rf",?\s+(?:and|but|or)\s+(?:also\s+|then\s+)?(?=(?:{_QUESTION})\b)", re.IGNORECASE)
# "and" stays with its part, which only makes sense with the part before it.
_OBJECTS = re.compile(r",?\s+(?=and\s+(?:an?|the|for|on|at)\s)", re.IGNORECASE)


def question_parts(utterance: str) -> tuple[str, ...]:
    """Return the parts of `utterance` in order: all of it, if it has one part or more than MOST_PARTS."""
    parts = [utterance]
    for cut in (_SENTENCES, _QUESTIONS, _OBJECTS):
        parts = [piece for part in parts for piece in cut.split(part) if piece.strip()]
    return tuple(parts) if 1 < len(parts) <= MOST_PARTS else (utterance,)
