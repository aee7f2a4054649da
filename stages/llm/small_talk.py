"""What callers say that asks for no fact: hello, thanks, goodbye, what was that? Pure."""

import re
from collections.abc import Sequence

from stages.llm.contract import ChatMessage

GOODBYE = "Thank you for calling. Goodbye!"
WELCOME = "You're welcome. Is there anything else?"
HELLO = "Hello! How can I help you?"
GO_ON = "What would you like to know?"
NOT_CAUGHT = "I'm sorry, I didn't catch that. Could you say it again?"
CONNECTS = "All right, I'll connect you with a colleague."

# The first that was said decides the answer. Together they must make up all of what was said.
_GOODBYE = (
    r"good ?bye?|bye|(see|talk to) you( soon| later| then)?|i('ve| have)? (got|have) to (go|run)|"
    r"have a (nice|good|great) (one|day|evening|weekend)"
)
_NO_MORE = (
    r"(that'?s|that is|that was|that will be|that'?ll be) (all|it|everything)|nothing else|i'?m (good|fine|all set)"
)
_THANKS = r"thanks|thank you|cheers|i appreciate (it|that)|much appreciated"
_AGAIN = (
    r"(can|could|would) you (please )?(repeat|say) (that|it)( again)?|say (that|it) again|repeat that|come again|"
    r"pardon( me)?|(i'?m )?sorry|excuse me|what (was that|did you say)|what|"
    r"i (didn'?t|did not) (hear|catch|get) (that|you|it)"
)
_HOW_ARE_YOU = r"how are you( doing)?( today)?|how'?s it going|nice to (meet|talk to) you"
_HELLO = r"hello|hi|hey|good (morning|afternoon|evening|day)|is (anyone|anybody|somebody) there|can you hear me"
_YES = r"yes( please)?|yeah|yep|sure|okay|ok|all right|alright|go ahead|please do|fine|i would( like that)?"
_NO = r"no|nope|not really"
_PRAISE = (
    r"you'?ve been (very |so )?(helpful|kind)|that'?s (very |really )?(great|helpful|kind|nice|perfect|wonderful)|"
    r"great|perfect|lovely|wonderful|excellent|brilliant|awesome|good|got it|i see|right"
)
_FILLER = (
    r"there|again|please|very much|so much|a lot|lots|for (your|the) (help|time|information)|"
    r"and|then|now|well|so|just|too|to you( too)?|you too|oh|ah|um+|uh+|mm+|hmm+"
)
_EVERY = (_GOODBYE, _NO_MORE, _THANKS, _AGAIN, _HOW_ARE_YOU, _HELLO, _YES, _NO, _PRAISE, _FILLER)
_ALL = re.compile(rf"\b({'|'.join(_EVERY)})(?![\w'])")


def courtesy(utterance: str, history: Sequence[ChatMessage] = ()) -> str | None:
    """The answer to an utterance of nothing but courtesies, or None if it says anything else."""
    said = re.sub(r"[^a-z' ]+", " ", utterance.lower().replace("’", "'"))
    if re.sub(r"[^a-z]", "", _ALL.sub(" ", said)):
        return None
    replies = [message.content for message in history if message.role == "assistant"]
    last = replies[-1] if replies else ""
    offered = "connect you with a colleague" in last or "put you through" in last

    def heard(pattern: str) -> bool:
        return bool(re.search(rf"\b({pattern})\b", said))

    if heard(_GOODBYE) or heard(_NO_MORE):
        return GOODBYE
    if heard(_NO):
        return "All right. Is there anything else?" if offered else GOODBYE
    if heard(_YES) and offered and last != CONNECTS:
        return CONNECTS
    if heard(_THANKS):
        return WELCOME
    if heard(_AGAIN):
        return last or NOT_CAUGHT
    if heard(_HOW_ARE_YOU):
        return "I'm fine, thank you. How can I help you?"
    if heard(_HELLO):
        return HELLO
    if heard(_PRAISE):
        return "Is there anything else I can help you with?"
    if heard(_YES):
        return GO_ON
    return NOT_CAUGHT
