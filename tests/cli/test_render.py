"""A call as a person reads it on the terminal."""

import io

import msgspec
from rich.console import Console

from cli.render import CallView
from schemas import events
from schemas.audio import CALLER_HZ
from schemas.events import Event

STARTED = 1_700_000_000_000_000


def at(ms: int) -> int:
    return STARTED + ms * 1000


class Terminal:
    """A view on a terminal of 160 columns, and what was printed there."""

    def __init__(self) -> None:
        self.console = Console(width=160, record=True, force_terminal=True, file=io.StringIO())
        self.view = CallView(self.console)
        self._seq = 0

    def show(self, *call_events: Event) -> None:
        for event in call_events:
            self.view.show(msgspec.structs.replace(event, session="s1", agent="desk", seq=self._seq))
            self._seq += 1

    @property
    def printed(self) -> str:
        return self.console.export_text(clear=False)


OPENED = events.SessionOpened(owners={}, coordinator="c", transport="websocket", started_us=STARTED, config={})
ASKED = (
    events.SpeechStarted(utterance=0, start_sample=0),
    events.SpeechEnded(utterance=0, until_sample=CALLER_HZ),
    events.TranscriptFinal(utterance=0, text="when do you open", start_sample=0, until_sample=1, time=at(1_300)),
)
ANSWERED = (
    events.TurnStarted(turn=2, answers=0, time=at(1_350)),
    events.SentenceReady(turn=2, segment=0, text="At [nine].", last=True, first_token_ms=200, time=at(1_600)),
    events.SegmentSynthesized(turn=2, segment=0, duration_ms=800, first_audio_ms=100),
    events.PlaybackStarted(turn=2, time=at(1_770)),
)


def test_interim_words_turn_final() -> None:
    terminal = Terminal()
    terminal.show(OPENED, events.SpeechStarted(utterance=0, start_sample=0))
    terminal.show(events.TranscriptInterim(utterance=0, text="when do", start_sample=0, until_sample=1))
    assert "when do" in terminal.view.status().plain
    assert "when do" not in terminal.printed
    terminal.show(*ASKED[1:])
    assert "when do" not in terminal.view.status().plain
    assert "caller  when do you open" in terminal.printed


def test_the_agents_state_is_followed() -> None:
    terminal = Terminal()
    terminal.show(OPENED)
    assert "listening" in terminal.view.status().plain
    terminal.show(*ASKED, *ANSWERED[:3])
    assert "thinking" in terminal.view.status().plain
    terminal.show(ANSWERED[3])
    assert "speaking" in terminal.view.status().plain
    assert "At [nine]." in terminal.view.status().plain


def test_an_answer_is_told_as_heard_with_where_its_time_went() -> None:
    terminal = Terminal()
    terminal.show(OPENED, *ASKED, *ANSWERED, events.PlaybackEnded(turn=2, heard_ms=400, interrupted=True))
    terminal.show(events.TurnEnded(turn=2, heard="At [nine]", interrupted=True))
    assert "agent  At [nine]  ✂ interrupted" in terminal.printed, "what people say is never markup"
    assert (
        "770 ms after end of speech: transcript final 300, end of turn 50, LLM first token 200, "
        "TTS first audio 150, first audio out 70" in terminal.printed
    )


def test_what_went_wrong_is_told() -> None:
    terminal = Terminal()
    terminal.show(events.LlmProviderFailed(provider="openai", kind="auth", message="the key is refused"))
    terminal.show(
        events.SttStageFailed(reason="overloaded", detail="too slow"), events.SessionClosed(reason="stt_lost")
    )
    assert "llm provider openai failed (auth): the key is refused" in terminal.printed
    assert "stt gave up (overloaded): too slow" in terminal.printed
    assert "closed: stt_lost" in terminal.printed


def test_the_cause_of_a_failure_stands_on_the_terminal_once() -> None:
    terminal = Terminal()
    cause = "OPENAI_API_KEY is not set"
    problem = f'stage "llm" cannot take the call: {cause}'
    assert terminal.view.short(problem) == problem
    terminal.show(OPENED, events.LlmStageFailed(reason="failed", detail=cause))
    terminal.show(events.SessionClosed(reason="llm_failed", detail=problem))
    assert terminal.printed.count(cause) == 1
    assert terminal.view.short(problem) == "the call failed (llm_failed): see above"
    assert terminal.view.short("the line broke") == "the line broke"
    assert terminal.view.short("") == ""
