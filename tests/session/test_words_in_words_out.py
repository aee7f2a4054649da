"""All words of a recognizer's finals stand in the session's utterances: once, in order, whatever is repeated."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.events import Event, TranscriptFinal
from session.recoverable import SttRecoverable
from session.state import SessionState, fold
from stages.llm import utterances as llm
from stages.llm.states import NO_UTTERANCE
from stages.stt.contract import HeardFinal, HeardInterim
from stages.stt.utterances import Utterances
from stages.stt.voice_activity import Offset

GUESS = "perhaps"  # of interims, which a forced part publishes


def listened(data: st.DataObject) -> tuple[list[Event], list[str]]:
    """The events of a caller and a recognizer, and the words of its finals. All utterances are closed at the end."""
    stt, now, speaking, settled = Utterances(SttRecoverable(), "acme"), 0, False, 0
    events: list[Event] = []
    words: list[str] = []
    for number in range(data.draw(st.integers(0, 16))):
        now += data.draw(st.integers(1, 20_000))
        match data.draw(st.sampled_from(["voice", "final", "final", "interim", "overdue"])):
            case "voice":
                events += stt.speech_ended(Offset(now, 4_096, 8_000), 256, 400) if speaking else stt.speech_started(now)
                speaking = not speaking
            case "final":
                start = data.draw(st.integers(settled, now))
                settled = data.draw(st.integers(start, now))
                words.append(f"word{number}")
                ends_turn = data.draw(st.sampled_from([None, False, True]))
                events += stt.heard_final(HeardFinal(words[-1], start, settled, end_of_turn=ends_turn))
            case "interim":
                events += stt.heard_interim(HeardInterim(GUESS, 0, now))
            case _:
                for one in list(stt.unfinished):
                    events += stt.force_last(one)
    if speaking:
        events += stt.speech_ended(Offset(now + 1, 4_096, 8_000), 256, 400)
    for one in list(stt.unfinished):
        events += stt.force_last(one)
    return events, words


def repeated(data: st.DataObject, events: list[Event]) -> list[Event]:
    """The events with some parts published again, at once or later, as a new owner of stt does."""
    again: list[Event] = []
    for event in events:
        again.append(event)
        finals = [one for one in again if isinstance(one, TranscriptFinal)]
        if finals:
            again += data.draw(st.lists(st.sampled_from(finals), max_size=1))
    return [replace(event, session="s1", agent="a1", epoch=1, seq=seq) for seq, event in enumerate(again)]


@given(st.data())
def test_every_word_is_folded_once_and_in_order(data: st.DataObject) -> None:
    events, words = listened(data)
    state = SessionState()
    for event in repeated(data, events):
        state = fold(state, event)
    folded = " ".join(one.text or "" for _, one in sorted(state.utterances.items())).split()
    assert [word for word in folded if word != GUESS] == words
    assert all(one.final for one in state.utterances.values())


@given(st.data())
def test_llm_takes_every_word_once_and_in_order(data: st.DataObject) -> None:
    events, words = listened(data)
    said: llm.Said = ()
    for event in repeated(data, events):
        if isinstance(event, llm.Heard):
            said = llm.follow(said, event, 0, NO_UTTERANCE)
    taken = " ".join(one.text for one in said).split()
    assert [word for word in taken if word != GUESS] == words
