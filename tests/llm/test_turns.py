"""Stories of a call, told to the turn machine on its own: no loop, no clock, no bus."""

from typing import Any

import pytest

from schemas.agent import Turns
from schemas.audio import CALLER_HZ
from schemas.events import (
    MOST_UNFINISHED,
    PlaybackEnded,
    PlaybackStarted,
    Resumed,
    SessionOpened,
    SpeechEnded,
    SpeechStarted,
    TextReceived,
    TranscriptFinal,
    TranscriptInterim,
)
from stages.llm.states import (
    HANGOVER_MS,
    STATES,
    TURN_INPUTS,
    Action,
    Cancel,
    Deadline,
    EndTurn,
    Hearing,
    Held,
    Listening,
    Pausing,
    Resume,
    Speaking,
    StartTurn,
    State,
    Thinking,
    TurnInput,
)
from stages.llm.turns import IGNORED, TRANSITIONS, opening, step

FINAL_WITHIN_MS = 300
OPENED = SessionOpened(owners={}, coordinator="c", transport="null", started_us=0, config={})


class Story:
    """A call told in order; deadlines fire on the way, as the shell lets them."""

    def __init__(self, *, greeting: bool = False, opened: bool = True, **rules: Any) -> None:
        self.now_ms = 0
        self.state: State = opening(Turns(**rules), greeting=greeting)
        self.done: list[tuple[int, Action]] = []
        if opened:
            self.tell(OPENED)

    def tell(self, *told: TurnInput) -> None:
        for event in told:
            self.state, actions = step(self.state, event, self.now_ms)
            self.done += [(self.now_ms, action) for action in actions]

    def wait(self, ms: int) -> None:
        until = self.now_ms + ms
        while (due := self.state.deadline_ms) is not None and due <= until:
            self.now_ms = max(self.now_ms, due)
            before = self.state
            self.tell(Deadline())
            assert self.state != before, "a deadline that decides nothing comes again for ever"
        self.now_ms = until

    # --- the caller ---

    def starts(self, utterance: int) -> None:
        self.tell(SpeechStarted(utterance=utterance, start_sample=self.now_ms * CALLER_HZ // 1000))

    def ends(self, utterance: int, silence_ms: int = 0) -> None:
        at = (self.now_ms - silence_ms) * CALLER_HZ // 1000
        self.tell(
            SpeechEnded(utterance=utterance, until_sample=at, silence_ms=silence_ms, final_within_ms=FINAL_WITHIN_MS)
        )

    def interim(self, utterance: int, text: str) -> None:
        self.tell(TranscriptInterim(utterance=utterance, text=text, start_sample=0, until_sample=0))

    def final(self, utterance: int, text: str, *, ends_turn: bool | None = None) -> None:
        self.tell(
            TranscriptFinal(utterance=utterance, text=text, start_sample=0, until_sample=0, end_of_turn=ends_turn)
        )

    def publishes(self, utterance: int, text: str, ms: int = 1_000) -> None:
        """An utterance from onset to final; the voice activity needs no silence to see its end."""
        self.starts(utterance)
        self.wait(ms)
        self.ends(utterance)
        self.final(utterance, text)

    def types(self, text: str, number: int = 1) -> None:
        self.tell(TextReceived(text=text, number=number))

    # --- the agent ---

    def heard(self, turn: int) -> None:
        self.tell(PlaybackStarted(turn=turn))

    def played(self, turn: int, heard_ms: int = 1_000, *, interrupted: bool = False) -> None:
        self.tell(PlaybackEnded(turn=turn, heard_ms=heard_ms, interrupted=interrupted))

    def answering(self, *, audible: bool = True) -> "Story":
        """The caller has asked and turn 2 answers."""
        self.publishes(0, "When do you open?")
        self.wait(300)
        if audible:
            self.heard(2)
        self.done.clear()
        return self

    # --- what came of it ---

    @property
    def actions(self) -> list[Action]:
        return [action for _, action in self.done]

    def when(self, kind: type[Any]) -> int:
        return next(at for at, action in self.done if isinstance(action, kind))


# --- the table itself ---


def test_every_pair_of_a_state_and_an_event_is_either_handled_or_stated_to_be_ignored() -> None:
    pairs = {(state, event) for state in STATES for event in TURN_INPUTS}
    assert set(TRANSITIONS) | IGNORED == pairs
    assert not set(TRANSITIONS) & IGNORED


# --- the greeting ---


def test_the_agent_greets_as_soon_as_the_call_is_open() -> None:
    story = Story(greeting=True)
    assert story.actions == [StartTurn(1, -1, "")]


def test_an_agent_without_a_greeting_waits_and_its_first_answer_is_still_turn_two() -> None:
    story = Story()
    assert story.actions == []
    story.publishes(0, "Hello?")
    story.wait(300)
    assert story.actions == [StartTurn(2, 0, "Hello?")]


def test_the_greeting_can_be_interrupted() -> None:
    story = Story(greeting=True)
    story.heard(1)
    story.publishes(0, "Just the opening hours please.")
    story.played(1, 400, interrupted=True)
    story.wait(300)
    assert story.actions == [
        StartTurn(1, -1, ""),
        Cancel(1, carried=False),
        EndTurn(1, 400, interrupted=True),
        StartTurn(2, 0, "Just the opening hours please."),
    ]


def test_words_before_the_call_is_open_are_answered_instead_of_greeted() -> None:
    story = Story(greeting=True, opened=False)
    story.publishes(0, "Hello, is anybody there?")
    assert story.actions == []
    story.tell(OPENED)
    story.wait(300)
    assert story.actions == [StartTurn(2, 0, "Hello, is anybody there?")]


def test_a_noise_before_the_call_is_open_only_delays_the_greeting() -> None:
    story = Story(greeting=True, opened=False)
    story.starts(0)
    story.tell(OPENED)
    assert isinstance(story.state, Held)
    story.wait(100)
    story.ends(0)
    story.final(0, "")
    assert story.actions == [StartTurn(1, -1, ""), Resume(0)]


# --- the end of the caller's turn ---


def test_a_finished_question_is_answered_after_the_short_pause() -> None:
    story = Story()
    story.publishes(0, "When do you open?")
    story.wait(299)
    assert story.actions == []
    story.wait(1)
    assert story.actions == [StartTurn(2, 0, "When do you open?")]


def test_the_pause_counts_from_the_last_speech_not_from_when_we_were_told() -> None:
    story = Story()
    story.starts(0)
    story.wait(1_000)
    story.ends(0, silence_ms=250)
    story.final(0, "When do you open?")
    story.wait(50)
    assert story.actions == [StartTurn(2, 0, "When do you open?")]


def test_a_transcript_before_the_silence_is_told_changes_nothing_about_the_pause() -> None:
    story = Story()
    story.starts(0)
    story.wait(1_100)
    story.final(0, "When do you open?")  # 100 ms after the last word
    assert story.state.foreseen == "When do you open?"
    story.wait(150)
    story.ends(0, silence_ms=250)
    story.wait(49)
    assert story.actions == []
    story.wait(1)
    assert story.actions == [StartTurn(2, 0, "When do you open?")]


def test_a_slow_transcript_is_answered_at_once_because_the_pause_has_passed() -> None:
    story = Story(max_delay_ms=200)
    story.starts(0)
    story.wait(1_000)
    story.ends(0)
    story.wait(FINAL_WITHIN_MS - 1)
    assert isinstance(story.state, Pausing)
    story.final(0, "I would like to")
    assert story.actions == [StartTurn(2, 0, "I would like to")]


def test_who_sounds_unfinished_is_given_the_long_pause() -> None:
    story = Story()
    story.publishes(0, "I would like to book a table and")
    story.wait(2_499)
    assert story.actions == []
    story.wait(1)
    assert story.actions == [StartTurn(2, 0, "I would like to book a table and")]


def test_who_goes_on_in_the_pause_is_answered_once_and_wholly() -> None:
    story = Story()
    story.publishes(0, "I would like to book a table")
    story.wait(200)
    story.starts(1)
    assert isinstance(story.state, Hearing)
    story.wait(3_000)
    story.ends(1)
    story.final(1, "for two people.")
    story.wait(300)
    assert story.actions == [StartTurn(2, 1, "I would like to book a table for two people.")]


@pytest.mark.parametrize(("ends_turn", "delay_ms"), [(True, 0), (False, 2_500), (None, 300)])
def test_the_recogniser_knows_better_than_the_words(ends_turn: bool | None, delay_ms: int) -> None:
    story = Story()
    story.starts(0)
    story.wait(1_000)
    story.ends(0)
    story.final(0, "When do you open?", ends_turn=ends_turn)
    story.wait(5_000)
    assert story.when(StartTurn) == 1_000 + delay_ms


def test_the_answer_waits_for_the_finals_of_every_utterance() -> None:
    story = Story()
    story.starts(0)
    story.wait(500)
    story.ends(0)
    story.starts(1)
    story.wait(10)
    story.ends(1)
    story.final(1, "please?", ends_turn=True)
    assert story.actions == []
    story.final(0, "The hours")
    assert story.actions == [StartTurn(2, 1, "The hours please?")]


def test_a_final_that_never_comes_is_not_waited_for_longer_than_the_recogniser_ever_takes() -> None:
    story = Story(min_delay_ms=0)
    story.starts(0)
    story.interim(0, "Are you open tomorrow")
    story.wait(500)
    story.ends(0)
    story.wait(FINAL_WITHIN_MS - 1)
    assert story.actions == []
    story.wait(1)
    assert story.actions == [StartTurn(2, 0, "Are you open tomorrow")]


def test_a_noise_while_the_agent_listens_lifts_the_hold_and_nothing_else() -> None:
    story = Story()
    story.publishes(0, "", ms=200)
    assert story.actions == [Resume(0)]
    assert isinstance(story.state, Listening)


def test_a_noise_without_any_transcript_is_dismissed_when_its_final_is_overdue() -> None:
    story = Story()
    story.starts(0)
    story.wait(200)
    story.ends(0)
    story.wait(FINAL_WITHIN_MS)
    assert story.actions == [Resume(0)]


def test_words_that_come_after_they_were_given_up_are_answered_all_the_same() -> None:
    story = Story()
    story.starts(0)
    story.wait(200)
    story.ends(0)
    story.wait(1_000)
    assert story.actions == [Resume(0)]
    story.final(0, "Hello?")
    assert story.actions == [Resume(0), StartTurn(2, 0, "Hello?")]


def test_yes_is_an_answer_when_the_agent_listens() -> None:
    story = Story()
    story.publishes(0, "Yes.", ms=300)
    story.wait(300)
    assert story.actions == [StartTurn(2, 0, "Yes.")]


def test_who_talks_without_end_is_understood_by_the_end_of_it() -> None:
    story = Story()
    story.publishes(0, "so " * 1_000 + "do you open on Sunday?")
    story.wait(300)
    [answer] = story.actions
    assert isinstance(answer, StartTurn)
    assert len(answer.text) <= 2_000
    assert answer.text.endswith("do you open on Sunday?")


# --- the agent's turn ---


def test_a_turn_that_was_heard_out_is_history() -> None:
    story = Story().answering()
    story.played(2, 1_234)
    assert story.actions == [EndTurn(2, 1_234, interrupted=False)]
    assert isinstance(story.state, Listening)


def test_a_cough_does_not_end_the_answer() -> None:
    story = Story().answering()
    story.starts(1)
    assert isinstance(story.state, Held)
    story.wait(400)
    story.ends(1, silence_ms=200)
    story.wait(399)
    assert story.actions == []
    story.wait(1)
    assert story.actions == [Resume(1)]
    assert isinstance(story.state, Speaking)


def test_a_cough_that_the_recogniser_knows_for_one_is_over_at_once() -> None:
    story = Story().answering()
    story.publishes(1, "", ms=200)
    assert story.actions == [Resume(1)]


def test_a_recogniser_slower_than_the_rule_is_waited_for_but_not_for_ever() -> None:
    story = Story(decide_within_ms=600).answering()
    story.starts(1)
    story.tell(SpeechEnded(utterance=1, until_sample=0, final_within_ms=5_000))
    story.wait(599)
    assert story.actions == []
    story.wait(1)
    assert story.actions == [Resume(1)]


def test_a_backchannel_does_not_end_the_answer() -> None:
    story = Story().answering()
    story.starts(1)
    story.wait(100)
    story.interim(1, "I")
    story.wait(300)
    story.interim(1, "I see")
    story.wait(500)
    story.ends(1)
    story.final(1, "I see.")
    assert story.actions == [Resume(1)]
    assert isinstance(story.state, Speaking)


def test_words_end_the_answer_as_soon_as_they_are_known() -> None:
    story = Story().answering()
    story.starts(1)
    story.wait(200)
    story.interim(1, "No wait")
    assert story.actions == [Cancel(2, carried=False)]
    assert isinstance(story.state, Hearing)
    story.played(2, 700, interrupted=True)
    story.wait(1_000)
    story.ends(1)
    story.final(1, "No wait, what about Sunday?")
    story.wait(300)
    assert story.actions[1:] == [EndTurn(2, 700, interrupted=True), StartTurn(3, 1, "No wait, what about Sunday?")]


def test_speech_that_lasts_ends_the_answer_before_any_word_is_known() -> None:
    story = Story().answering()
    began = story.now_ms
    story.starts(1)
    story.wait(5_000)
    assert story.when(Cancel) == began + 500 + HANGOVER_MS


def test_a_sound_too_long_for_a_cough_ends_the_answer_though_no_word_is_known() -> None:
    story = Story().answering()
    story.starts(1)
    story.wait(600)
    story.ends(1)
    assert story.actions == [Cancel(2, carried=False)]


def test_speech_that_is_over_when_the_limit_comes_is_judged_by_how_long_it_was() -> None:
    story = Story().answering()
    story.starts(1)
    story.wait(700)
    story.ends(1, silence_ms=250)
    assert story.actions == []  # 450 ms of sound
    story.wait(10_000)
    assert story.actions == [Resume(1)]


def test_who_hums_agreement_for_seconds_is_taken_to_speak() -> None:
    story = Story().answering()
    began = story.now_ms
    story.starts(1)
    story.interim(1, "yeah")
    story.wait(10_000)
    assert story.when(Cancel) == began + 2_000


def test_a_second_cough_is_waited_out_too() -> None:
    story = Story().answering()
    for cough in (1, 2):
        story.starts(cough)
        story.wait(200)
        story.ends(cough)
        story.wait(100)
    story.wait(1_000)
    assert story.actions == [Resume(2)]


def test_words_before_anything_was_heard_are_answered_together_with_the_question() -> None:
    story = Story().answering(audible=False)
    assert isinstance(story.state, Thinking)
    story.publishes(1, "On Sunday, I mean.")
    story.wait(300)
    assert story.actions == [Cancel(2, carried=True), StartTurn(3, 1, "When do you open? On Sunday, I mean.")]


def test_a_cough_before_anything_was_heard_costs_nothing() -> None:
    story = Story().answering(audible=False)
    story.publishes(1, "", ms=200)
    assert story.actions == [Resume(1)]
    assert isinstance(story.state, Thinking)


def test_a_question_whose_answer_began_during_the_hold_is_not_asked_again() -> None:
    story = Story().answering(audible=False)
    story.starts(1)
    story.heard(2)
    story.interim(1, "And on Sunday")
    assert story.actions == [Cancel(2, carried=False)]


def test_an_answer_that_is_over_before_the_decision_leaves_a_listener() -> None:
    story = Story().answering()
    story.starts(1)
    story.played(2)
    story.wait(300)
    story.ends(1)
    story.final(1, "Yes.")
    story.wait(300)
    assert story.actions == [EndTurn(2, 1_000, interrupted=False), StartTurn(3, 1, "Yes.")]


def test_egress_that_went_on_by_itself_can_still_be_stopped() -> None:
    story = Story().answering()
    story.starts(1)
    story.tell(Resumed(turn=2, heard_ms=10, utterance=1, reason="timeout"))
    assert isinstance(story.state, Speaking)
    story.ends(1)
    story.final(1, "Hold on, what about Sunday?")
    story.wait(300)
    assert story.actions == [Resume(1), Cancel(2, carried=False), StartTurn(3, 1, "Hold on, what about Sunday?")]


def test_a_timeout_of_an_earlier_hold_does_not_end_this_one() -> None:
    story = Story().answering()
    story.starts(1)
    story.starts(2)
    held = story.state
    story.tell(Resumed(turn=2, heard_ms=10, utterance=1, reason="timeout"))
    assert story.state == held


def test_words_of_a_cough_that_was_dismissed_too_early_still_end_the_answer() -> None:
    story = Story().answering()
    story.starts(1)
    story.wait(200)
    story.ends(1)
    story.wait(1_000)
    assert story.actions == [Resume(1)]
    story.final(1, "Stop.")
    assert story.actions == [Resume(1), Cancel(2, carried=False), StartTurn(3, 1, "Stop.")]


def test_a_final_that_only_confirms_what_was_answered_changes_nothing() -> None:
    story = Story()
    story.starts(0)
    story.interim(0, "are you open tomorrow")
    story.wait(500)
    story.ends(0)
    story.wait(FINAL_WITHIN_MS)
    story.final(0, "Are you open tomorrow?")
    assert story.actions == [StartTurn(2, 0, "are you open tomorrow")]


def test_a_final_that_says_more_than_what_was_answered_is_answered_instead() -> None:
    story = Story()
    story.starts(0)
    story.interim(0, "are you open tomorrow")
    story.wait(500)
    story.ends(0)
    story.wait(FINAL_WITHIN_MS)
    story.final(0, "Are you open tomorrow morning?")
    assert story.actions == [
        StartTurn(2, 0, "are you open tomorrow"),
        Cancel(2, carried=True),
        StartTurn(3, 0, "Are you open tomorrow morning?"),
    ]


# --- the caller types ---


def test_what_is_typed_is_answered_at_once_however_it_ends() -> None:
    story = Story()
    story.types("my number is")
    assert story.done == [(0, StartTurn(2, -1, "my number is", 1))]


def test_typing_stops_the_answer_that_is_being_heard() -> None:
    story = Story().answering()
    story.types("And on Sunday?")
    assert story.actions == [Cancel(2, carried=False), StartTurn(3, 0, "And on Sunday?", 1)]
    story.played(2, 400, interrupted=True)
    assert story.actions[2:] == [EndTurn(2, 400, interrupted=True)]


def test_an_answer_nobody_has_heard_yet_answers_both_questions() -> None:
    story = Story().answering(audible=False)
    story.types("And on Sunday?")
    assert story.actions == [Cancel(2, carried=True), StartTurn(3, 0, "When do you open? And on Sunday?", 1)]
    story.types("And on Monday?", 2)
    assert story.actions[3:] == [StartTurn(4, 0, "When do you open? And on Sunday? And on Monday?", 2)]


def test_a_picture_is_a_text_though_it_holds_no_word() -> None:
    story = Story()
    story.types("👍")
    assert story.actions == [StartTurn(2, -1, "👍", 1)]


def test_the_rattle_of_keys_is_no_reason_to_wait() -> None:
    story = Story()
    story.starts(0)
    story.types("When do you open?")
    assert story.actions == [StartTurn(2, 0, "When do you open?", 1)], "the hold for utterance 0 lifts"
    story.ends(0)
    story.final(0, "")
    assert story.actions[1:] == []


def test_words_that_are_said_while_typing_are_heard_after_all() -> None:
    story = Story()
    story.starts(0)
    story.interim(0, "I want")
    story.types("two")
    assert story.actions == [StartTurn(2, 0, "I want two", 1)]
    story.final(0, "I want to cancel.")
    story.wait(300)
    assert story.actions[1:] == [Cancel(2, carried=True), StartTurn(3, 0, "I want to cancel. two", 1)]


def test_no_word_is_lost_of_a_recogniser_that_is_as_late_as_it_may_be() -> None:
    story = Story()
    for number in range(MOST_UNFINISHED):
        story.starts(number)
        story.ends(number)
    story.types("Hello?")
    said = [f"word{number}" for number in range(MOST_UNFINISHED)]
    for number, word in enumerate(said):
        story.final(number, word)
    story.wait(300)
    answered = [action for action in story.actions if isinstance(action, StartTurn)][-1]
    assert answered.text == " ".join([*said, "Hello?"])


def test_typing_decides_a_hold() -> None:
    story = Story().answering()
    story.starts(1)
    assert isinstance(story.state, Held)
    story.types("Stop.")
    assert story.actions == [Cancel(2, carried=False), StartTurn(3, 1, "Stop.", 1)]


def test_a_text_before_the_call_is_open_is_answered_instead_of_greeted() -> None:
    story = Story(greeting=True, opened=False)
    story.types("Hello?")
    assert story.actions == []
    story.tell(OPENED)
    assert story.actions == [StartTurn(2, -1, "Hello?", 1)]


def test_a_text_that_was_answered_but_not_heard_comes_back_with_the_words_that_interrupt() -> None:
    story = Story()
    story.types("When do you open?")
    story.publishes(0, "On Sunday, I mean.")
    story.wait(300)
    text = "When do you open? On Sunday, I mean."
    assert story.actions[1:] == [Cancel(2, carried=True), StartTurn(3, 0, text, 1)]
