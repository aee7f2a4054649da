"""Finals become numbered parts: exactly one last part per utterance, and no word is lost or doubled."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Event, SpeechEnded, SpeechStarted, TranscriptFinal, TranscriptInterim, TurnJudged
from session.recoverable import SttRecoverable, UnfinishedUtterance
from stages.stt.contract import HeardFinal, HeardInterim
from stages.stt.utterances import COVERED, Utterances
from stages.stt.voice_activity import Offset

SECOND = 16_000


class Session:
    """The utterances of one session, and everything that was published of them."""

    def __init__(self, first: int = 0) -> None:
        self.utterances = Utterances(SttRecoverable(next_utterance=first), "acme")
        self.events: list[Event] = []

    def starts(self, at: int) -> None:
        self.events += self.utterances.speech_started(at)

    def ends(self, at: int) -> None:
        self.events += self.utterances.speech_ended(Offset(at, 4_096, 8_000), 256, 400)

    def final(self, text: str, start: int, until: int, *, end_of_turn: bool | None = None) -> None:
        self.events += self.utterances.heard_final(HeardFinal(text, start, until, end_of_turn=end_of_turn))

    def interim(self, text: str, until: int) -> None:
        self.events += self.utterances.heard_interim(HeardInterim(text, 0, until))

    def overdue(self) -> None:
        for utterance in list(self.utterances.unfinished):
            self.events += self.utterances.force_last(utterance)

    @property
    def finals(self) -> list[tuple[int, int, bool, str]]:
        return [
            (one.utterance, one.part, one.last, one.text) for one in self.events if isinstance(one, TranscriptFinal)
        ]


def test_one_final_is_one_part_and_the_last() -> None:
    session = Session(first=3)
    session.starts(0)
    session.ends(SECOND)
    session.final("Hello.", 0, SECOND)
    assert session.finals == [(3, 0, True, "Hello.")]
    final = session.events[-1]
    assert isinstance(final, TranscriptFinal)
    assert (final.provider, final.audio_ms) == ("acme", 1_000)


def test_several_finals_are_parts_and_the_one_that_reaches_the_end_is_the_last() -> None:
    session = Session()
    session.starts(0)
    session.final("I would like", 0, SECOND)
    session.final("a table", SECOND, 2 * SECOND)
    session.ends(3 * SECOND)
    session.final("for two.", 2 * SECOND, 3 * SECOND)
    assert session.finals == [(0, 0, False, "I would like"), (0, 1, False, "a table"), (0, 2, True, "for two.")]


def test_a_final_before_the_end_is_closed_by_an_empty_part_once_the_end_is_known() -> None:
    session = Session()
    session.starts(0)
    session.final("Hello.", 0, SECOND)
    session.ends(SECOND + COVERED)
    assert session.finals == [(0, 0, False, "Hello."), (0, 1, True, "")]
    assert isinstance(session.events[-2], SpeechEnded)


def test_the_recognizer_s_own_end_of_turn_closes_an_utterance_before_silence_does() -> None:
    session = Session()
    session.starts(0)
    session.final("Yes.", 0, SECOND, end_of_turn=True)
    session.ends(SECOND)
    assert session.finals == [(0, 0, True, "Yes.")]
    assert [type(event) for event in session.events] == [SpeechStarted, TranscriptFinal, SpeechEnded]


def test_words_after_the_end_of_turn_are_an_utterance_of_their_own() -> None:
    session = Session()
    session.starts(0)
    session.final("Yes.", 0, SECOND, end_of_turn=True)
    session.final("Or no.", SECOND, 2 * SECOND)
    session.ends(2 * SECOND)
    assert session.finals == [(0, 0, True, "Yes."), (1, 0, False, "Or no."), (1, 1, True, "")]
    kinds = [(type(event), event.utterance) for event in session.events if not isinstance(event, TranscriptFinal)]  # type: ignore[attr-defined] # every event of stt has it
    assert kinds == [(SpeechStarted, 0), (SpeechEnded, 0), (SpeechStarted, 1), (SpeechEnded, 1)]


def test_a_final_of_the_next_utterance_closes_one_that_got_none() -> None:
    session = Session()
    session.starts(0)
    session.ends(SECOND)
    session.starts(2 * SECOND)
    session.ends(3 * SECOND)
    session.final("Hello?", 2 * SECOND, 3 * SECOND)
    assert session.finals == [(0, 0, True, ""), (1, 0, True, "Hello?")]


def test_an_overdue_utterance_is_closed_with_the_words_of_its_interim() -> None:
    session = Session()
    session.starts(0)
    session.final("I would", 0, SECOND)
    session.interim("like a", 2 * SECOND)
    session.ends(2 * SECOND)
    session.overdue()
    session.overdue()
    assert session.finals == [(0, 0, False, "I would"), (0, 1, True, "like a")]


def test_a_late_final_adds_only_the_words_that_are_new() -> None:
    session = Session()
    session.starts(0)
    session.interim("I would like a", SECOND)
    session.ends(2 * SECOND)
    session.overdue()
    session.final("I would like a table.", 0, 2 * SECOND)
    assert session.finals == [(0, 0, True, "I would like a"), (1, 0, True, "table.")]
    assert [type(event) for event in session.events[-3:]] == [SpeechStarted, SpeechEnded, TranscriptFinal]


def test_a_late_final_that_says_nothing_new_is_no_utterance() -> None:
    session = Session()
    session.starts(0)
    session.interim("hello there", SECOND)
    session.ends(SECOND)
    session.overdue()
    session.final("Hello there.", 0, SECOND)
    assert session.finals == [(0, 0, True, "hello there")]


def test_a_late_final_is_a_part_of_the_utterance_that_is_open_then() -> None:
    session = Session()
    session.starts(0)
    session.ends(SECOND)
    session.overdue()
    session.starts(3 * SECOND)
    session.final("Hello.", 0, SECOND)
    session.ends(4 * SECOND)
    session.final("Anyone?", 3 * SECOND, 4 * SECOND)
    assert session.finals == [(0, 0, True, ""), (1, 0, False, "Hello."), (1, 1, True, "Anyone?")]


def test_words_that_voice_activity_detection_missed_are_an_utterance() -> None:
    session = Session()
    session.final("Psst.", 0, SECOND)
    assert session.finals == [(0, 0, True, "Psst.")]


def test_noise_that_voice_activity_detection_missed_is_none() -> None:
    session = Session()
    session.final("", 0, SECOND)
    assert session.events == []


def test_an_interim_holds_the_words_of_the_parts_before_it() -> None:
    session = Session()
    session.interim("nobody speaks", 100)
    session.starts(0)
    session.final("I would", 0, SECOND)
    session.interim("like", SECOND + 100)
    interims = [event for event in session.events if isinstance(event, TranscriptInterim)]
    assert [(one.utterance, one.text, one.until_sample) for one in interims] == [(0, "I would like", SECOND + 100)]


def test_a_judgement_on_the_turn_is_about_the_newest_utterance() -> None:
    session = Session()
    assert session.utterances.turn_judged(0, 0.9) == []
    session.starts(0)
    session.ends(SECOND)
    judged = session.utterances.turn_judged(SECOND, 0.9)[0]
    assert judged == TurnJudged(utterance=0, at_sample=SECOND, probability=0.9, source="recognizer")


@given(st.data())
def test_whatever_a_recognizer_does_the_contract_holds(data: st.DataObject) -> None:
    """Speech begins and ends, finals come early, late, twice or never, deadlines pass."""
    session, now, speaking, settled, words = Session(), 0, False, 0, []
    for number in range(data.draw(st.integers(0, 30))):
        now += data.draw(st.integers(1, 20_000))
        step = data.draw(st.sampled_from(["voice", "final", "interim", "overdue"]))
        if step == "voice":
            session.ends(now) if speaking else session.starts(now)
            speaking = not speaking
        elif step == "final":
            start = data.draw(st.integers(settled, now))
            settled = data.draw(st.integers(start, now))
            words.append(f"word{number}")
            session.final(words[-1], start, settled, end_of_turn=data.draw(st.sampled_from([None, False, True])))
        elif step == "interim":
            session.interim("perhaps", now)
        else:
            session.overdue()
    if speaking:
        session.ends(now + 1)
    session.overdue()
    published = " ".join(text for _, _, _, text in session.finals).split()
    assert [word for word in published if word != "perhaps"] == words
    for number in {number for number, _, _, _ in session.finals}:
        parts = [(part, last) for utterance, part, last, _ in session.finals if utterance == number]
        assert parts == [(part, part == len(parts) - 1) for part in range(len(parts))]
    for kind in (SpeechStarted, SpeechEnded):
        numbers = [event.utterance for event in session.events if isinstance(event, kind)]
        assert numbers == list(range(len(numbers)))
        assert set(numbers) == {number for number, _, _, _ in session.finals}


# --- a new owner ------------------------------------------------------------------------------------------------------

OPEN = UnfinishedUtterance(3, 10_000, None, 0, "", 10_000)
ENDED = UnfinishedUtterance(3, 10_000, 20_000, 0, "", 10_000)


def taken_over(*left: UnfinishedUtterance, transcribed: int = 5_000) -> Utterances:
    return Utterances(SttRecoverable(left[0].until, 4 if len(left) == 1 else 5, left, transcribed), "acme")


def test_an_open_utterance_that_is_heard_again_keeps_its_number_and_starts_once() -> None:
    utterances = taken_over(OPEN)
    assert utterances.speech_started(9_900) == []
    [ended] = utterances.speech_ended(Offset(20_000, 4_000, 10_000), 250, 400)
    assert isinstance(ended, SpeechEnded)
    assert (ended.utterance, ended.until_sample) == (3, 20_000)
    [final] = utterances.heard_final(HeardFinal("one", 9_900, 20_000))
    assert isinstance(final, TranscriptFinal)
    assert (final.utterance, final.text, final.last) == (3, "one", True)
    [started] = utterances.speech_started(30_000)
    assert isinstance(started, SpeechStarted)
    assert started.utterance == 4


def test_an_utterance_that_had_ended_gets_its_transcript_and_ends_once() -> None:
    utterances = taken_over(ENDED)
    assert utterances.speech_started(10_000) == []
    assert utterances.speech_ended(Offset(20_100, 4_000, 10_000), 250, 400) == []
    [final] = utterances.heard_final(HeardFinal("one", 10_000, 20_100))
    assert isinstance(final, TranscriptFinal)
    assert (final.utterance, final.text, final.last) == (3, "one", True)
    assert utterances.recoverable.unfinished == ()


def test_parts_that_were_published_are_not_repeated() -> None:
    utterances = taken_over(UnfinishedUtterance(3, 10_000, None, 1, "one", 15_000), transcribed=15_000)
    assert utterances.heard_final(HeardFinal("one", 10_000, 15_000)) != [], "it overlaps: ingress replays from the part"
    utterances = taken_over(UnfinishedUtterance(3, 10_000, None, 1, "one", 15_000), transcribed=15_000)
    utterances.speech_started(15_000)
    utterances.speech_ended(Offset(20_000, 4_000, 5_000), 250, 400)
    [final] = utterances.heard_final(HeardFinal("two", 15_000, 20_000))
    assert isinstance(final, TranscriptFinal)
    assert (final.part, final.text, final.last) == (1, "two", True)


def test_speech_that_has_its_transcript_is_not_published_again() -> None:
    utterances = taken_over(ENDED, transcribed=50_000)  # utterance 4 was transcribed before utterance 3
    utterances.speech_started(10_000)
    utterances.speech_ended(Offset(20_000, 4_000, 10_000), 250, 400)
    assert utterances.speech_started(40_000) == []
    assert utterances.speech_ended(Offset(50_000, 4_000, 10_000), 250, 400) == []
    [final] = utterances.heard_final(HeardFinal("one", 10_000, 20_000))
    assert final.utterance == 3  # type: ignore[attr-defined]
    assert utterances.heard_final(HeardFinal("two", 40_000, 50_000)) == []


def test_an_utterance_that_is_not_found_again_is_closed() -> None:
    utterances = taken_over(OPEN)
    left = tuple(utterances.unfinished)
    ended, final = utterances.give_up_on(left)
    assert isinstance(ended, SpeechEnded)
    assert isinstance(final, TranscriptFinal)
    assert (final.utterance, final.text, final.last) == (3, "", True)
    assert utterances.give_up_on(left) == []
