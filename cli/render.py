"""Show a call on the terminal as it happens: transcript, agent state and latencies, for `call` and `demo`."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from schemas import events
from schemas.events import Event
from session import latency
from session.state import SessionState, fold

MS_PER_CELL = 25  # of a latency bar: 1.5 s, a slow turn, is 60 characters
MAX_CELLS = 80
REFRESH_HZ = 8
INTERIM_CHARACTERS = 100  # the end of an interim transcript: the status stays on one line

COLOURS = {
    latency.TRANSCRIPT: "cyan",
    latency.END_OF_TURN: "blue",
    latency.FIRST_WORD: "magenta",
    latency.FIRST_AUDIO: "yellow",
    latency.HEARD: "green",
}
STATES = {"listening": ("○", "cyan"), "thinking": ("◐", "magenta"), "speaking": ("●", "green")}


class CallView:
    """The view of one call: `show` prints lines that stay, `status` is the line that changes."""

    def __init__(self, console: Console) -> None:
        self.state = SessionState()
        self._console = console
        self._interim = ""
        self._causes: list[str] = []  # of failures that were printed

    def short(self, problem: str) -> str:
        """Return why the call failed, without a cause that stands on the terminal already."""
        if any(cause and cause in problem for cause in self._causes):
            return f"the call failed ({self.state.closed or 'failed'}): see above"
        return problem

    def show(self, event: Event) -> None:
        """Show one event or ephemeral of the call."""
        self.state = fold(self.state, event)
        match event:
            case events.SessionOpened():
                self._print(Text(f"session {event.session}, agent {event.agent}, {event.transport}", "dim"))
            case events.TranscriptInterim():
                self._interim = event.text
            case events.TranscriptFinal():
                self._interim = ""
                if event.text:
                    self._print(_said("caller", event.text, "bold cyan"))
            case events.TextReceived():
                self._print(_said("caller", f"[typed] {event.text}", "bold cyan"))
            case events.TurnEnded():
                self._turn(event)
            case events.ProviderFailed():
                stage = events.stage(event)
                self._causes.append(event.message)
                self._print(Text(f"{stage} provider {event.provider} failed ({event.kind}): {event.message}", "red"))
            case events.StageFailed():
                self._causes.append(event.detail)
                self._print(Text(f"{events.stage(event)} gave up ({event.reason}): {event.detail}", "red"))
            case events.SessionClosed():
                self._print(Text(f"closed: {event.reason}", "dim"))  # the command ends with the detail
            case _:
                pass

    def status(self) -> Text:
        """Return what the agent does now, and the words that are not final yet."""
        mark, colour = STATES[self.state.agent_state]
        line = Text(f"{mark} {self.state.agent_state:<9} ", colour)
        speaking = self.state.turns.get(self.state.speaking)
        words = self._interim or (speaking.reply if speaking else "")
        if len(words) > INTERIM_CHARACTERS:
            words = f"…{words[-INTERIM_CHARACTERS:]}"
        return line.append(words, "dim italic")

    @contextmanager
    def live(self) -> Iterator[None]:
        """Keep the status at the bottom of a terminal; show none where the output is a file."""
        if not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=self.status, console=self._console, refresh_per_second=REFRESH_HZ, transient=True):
            yield

    def _turn(self, ended: events.TurnEnded) -> None:
        line = _said("agent", ended.heard or "(nothing was heard)", "bold green")
        if ended.interrupted:
            line.append("  ✂ interrupted", "yellow")
        self._print(line)
        falls = latency.waterfall(self.state, ended.turn)
        if falls and falls.total_ms is not None:
            self._print(waterfall_line(falls))

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)


def waterfall_line(falls: latency.Waterfall) -> Text:
    """Return the steps of a turn as a bar in proportion, and in figures."""
    line = Text("        ")
    cells = 0
    for step in falls.steps:
        length = min(round(step.length / MS_PER_CELL), MAX_CELLS - cells)
        cells += length
        line.append("━" * length, COLOURS[step.name])
    line.append(f" {falls.total_ms} ms", "bold")
    line.append(f" after {falls.marks[0].name}: ", "dim")
    for index, step in enumerate(falls.steps):
        line.append(f"{', ' if index else ''}{step.name} ", "dim").append(f"{step.length}", COLOURS[step.name])
    return line


def _said(who: str, text: str, style: str) -> Text:
    return Text(f"{who:>6}  ", style).append(text, "default")
