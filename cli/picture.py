"""Draw a call like a score: the caller above the agent, their words, and the steps of each answer's latency."""

import importlib.util
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antiphon_testing.recording import Recording
from cli.audiofile import replacing
from cli.errors import WrongUse
from schemas import events
from schemas.audio import CALLER_HZ
from schemas.events import Event
from schemas.subjects import EGRESS
from session import latency
from session.state import SessionState, fold

if TYPE_CHECKING:
    import numpy
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_PX = 1600
ROW_PX, HEAD_PX, FOOT_PX = 400, 96, 64
DPI = 100
ROW_S = 32.0  # seconds of a call in one row: the words of a sentence fit under it
MAX_ROWS = 6  # a longer call has longer rows instead, and fewer captions
LEFT_PX, RIGHT_PX = 96, 32
LOOK_HZ = 2_000  # sample rate of the waveform, which is drawn as the peak of each pixel
CHARACTER_PX = 6.1  # the average in a caption
CAPTION_PX, CAPTION_LINES = 300, 3  # at most
GAP_PX = 12  # between two captions
NARROWEST_PX = 84  # a caption with less room is left out
STEP_PX = 20  # a narrower step of a waterfall is drawn without its figure

INK, FAINT, PAPER, RULE = "#1f2933", "#7b8794", "#ffffff", "#e4e7eb"
CALLER, CALLER_SPAN = "#0b7a75", "#e3f4f2"
AGENT, AGENT_SPAN = "#4c51bf", "#eceefb"
HOLD, CUT = "#fbdf9d", "#d64545"
STEPS = {
    latency.TRANSCRIPT: "#2cb1bc",
    latency.END_OF_TURN: "#829ab1",
    latency.FIRST_WORD: "#9446ed",
    latency.FIRST_AUDIO: "#f7a13b",
    latency.HEARD: "#3ebd93",
}

# lanes of a row, bottom and top, from the caller's captions down to the agent's
CALLER_WORDS, CALLER_WAVE, BETWEEN, AGENT_WAVE, AGENT_WORDS = (83, 99), (58, 82), (44, 57), (19, 43), (3, 18)


@dataclass(frozen=True)
class Span:
    """Words of one side: seconds from the caller's first sample, and the text."""

    start: float
    end: float
    text: str
    cut: bool = False  # interrupted by the caller


@dataclass
class Scene:
    """The parts of a picture, in seconds since the caller's first sample."""

    agent: str = ""
    caller_spans: list[Span] = field(default_factory=list)
    agent_spans: list[Span] = field(default_factory=list)
    holds: list[tuple[float, float]] = field(default_factory=list)
    falls: list[tuple[float, latency.Waterfall]] = field(default_factory=list)  # where each begins


def check_installed() -> None:
    """Raise WrongUse if no picture can be drawn: before the call rather than after it."""
    if importlib.util.find_spec("matplotlib") is None:
        raise WrongUse("cannot draw a picture: matplotlib is not installed. Run pip install -e '.[picture]'.")


def draw(path: Path, recording: Recording, call_events: Sequence[Event]) -> None:
    """Write a PNG of the call, WIDTH_PX wide. Raises BadAudio when it cannot be written."""
    caller, agent = recording.lines(LOOK_HZ)
    figure = paint(stage(call_events), caller, agent)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=DPI, facecolor=PAPER)


def stage(call_events: Sequence[Event]) -> Scene:
    """Return the parts of the picture that the events of one call describe."""
    state = SessionState()
    for event in call_events:
        state = fold(state, event)
    scene = Scene(agent=state.agent)
    for utterance in state.utterances.values():
        if utterance.end is not None:
            scene.caller_spans.append(
                Span(utterance.start / CALLER_HZ, utterance.end / CALLER_HZ, utterance.text or "")
            )
    for number, turn in state.turns.items():
        if turn.playing:
            start = _played(turn.playing, state)
            end = _played(turn.stopped, state) if turn.stopped else start + turn.heard_ms / 1000
            text = turn.reply if turn.heard is None else turn.heard
            scene.agent_spans.append(Span(start, end, text, turn.interrupted))
            falls = latency.waterfall(state, number)
            if falls and falls.total_ms and falls.marks[0].name == latency.END_OF_SPEECH:
                scene.falls.append((_seconds(falls.began, state), falls))
    scene.holds = _holds(call_events, state)
    return scene


def _holds(call_events: Sequence[Event], state: SessionState) -> list[tuple[float, float]]:
    """Return each hold: from `paused` of a turn that was playing to the event that resumed or ended the turn."""
    holds = []
    since: dict[int, float] = {}
    for event in call_events:
        if isinstance(event, events.Paused) and event.turn and state.turns[event.turn].playing:
            since.setdefault(event.turn, _played(event.time, state))
        elif isinstance(event, events.Resumed | events.PlaybackEnded) and event.turn in since:
            holds.append((since.pop(event.turn), _played(event.time, state)))
    return holds


def _played(time: int, state: SessionState) -> float:
    """Seconds since the caller's first sample, of an event of egress."""
    return _seconds(latency.by_ingress(state, EGRESS, time), state)


def _seconds(time: int, state: SessionState) -> float:
    return (time - state.started) / 1_000_000


def paint(scene: Scene, caller: "numpy.ndarray[Any, Any]", agent: "numpy.ndarray[Any, Any]") -> "Figure":
    """Return the figure of a scene. caller, agent: int16 samples at LOOK_HZ."""
    from matplotlib.figure import Figure

    seconds = max(len(caller), len(agent), 1) / LOOK_HZ
    rows = min(MAX_ROWS, math.ceil(seconds / ROW_S))
    row_s = max(seconds / rows, 4.0)  # a short call is not stretched over the page
    height = HEAD_PX + rows * ROW_PX + FOOT_PX
    figure = Figure(figsize=(WIDTH_PX / DPI, height / DPI))
    _head(figure, scene, seconds, height)
    for row in range(rows):
        bottom = FOOT_PX + (rows - 1 - row) * ROW_PX
        box = (LEFT_PX / WIDTH_PX, bottom / height, 1 - (LEFT_PX + RIGHT_PX) / WIDTH_PX, (ROW_PX - 30) / height)
        _Row(figure.add_axes(box), scene, row * row_s, row_s).paint(caller, agent)
    _foot(figure, height)
    return figure


def _head(figure: "Figure", scene: Scene, seconds: float, height: int) -> None:
    waits = sorted(falls.total_ms or 0 for _, falls in scene.falls)
    call_events = [f"{int(seconds) // 60}:{int(seconds) % 60:02d} min", f"{len(scene.agent_spans)} turns of the agent"]
    if waits:
        call_events.append(f"answers after {waits[len(waits) // 2]} ms (median)")
    cuts = sum(span.cut for span in scene.agent_spans)
    if cuts:
        call_events.append(f"{cuts} interruption{'s' * (cuts > 1)}")
    left = LEFT_PX / WIDTH_PX
    title = f"A call to {scene.agent}" if scene.agent else "A call"
    figure.text(left, 1 - 34 / height, title, size=17, weight="bold", color=INK, va="center", parse_math=False)
    figure.text(left, 1 - 62 / height, "   ·   ".join(call_events), size=10.5, color=FAINT, va="center")


def _foot(figure: "Figure", height: int) -> None:
    from matplotlib.patches import Rectangle

    told = [("held while the caller speaks", HOLD), ("interrupted", CUT)]
    marks = [("from the caller's last word to", None), *STEPS.items(), *told]
    x = LEFT_PX
    for name, colour in marks:
        if colour:
            box = Rectangle((x / WIDTH_PX, 22 / height), 12 / WIDTH_PX, 12 / height, color=colour, lw=0)
            figure.add_artist(box)
            x += 18
        figure.text(x / WIDTH_PX, 28 / height, name, size=9, color=FAINT, va="center")
        x += int(len(name) * 6.4) + 26


class _Row:
    """One row of the score: `start` to `start + seconds` of the call, 100 units high."""

    def __init__(self, axes: "Axes", scene: Scene, start: float, seconds: float) -> None:
        self._axes = axes
        self._scene = scene
        self._start, self._end = start, start + seconds
        self._px = (WIDTH_PX - LEFT_PX - RIGHT_PX) / seconds  # width of one second
        axes.set_xlim(self._start, self._end)
        axes.set_ylim(0, 100)

    def paint(self, caller: "numpy.ndarray[Any, Any]", agent: "numpy.ndarray[Any, Any]") -> None:
        self._ruler()
        self._spans(self._scene.caller_spans, CALLER_WAVE, CALLER_SPAN)
        self._spans(self._scene.agent_spans, AGENT_WAVE, AGENT_SPAN)
        for start, end in self._scene.holds:
            self._box(start, end, AGENT_WAVE, facecolor=HOLD, zorder=0.7)
        self._wave(caller, CALLER_WAVE, CALLER)
        self._wave(agent, AGENT_WAVE, AGENT)
        self._captions(self._scene.caller_spans, CALLER_WORDS[0], "bottom", CALLER)
        self._captions(self._scene.agent_spans, AGENT_WORDS[1], "top", AGENT)
        self._cuts()
        for began, falls in self._scene.falls:
            self._waterfall(began, falls)

    def _ruler(self) -> None:
        step = next((step for step in (1, 2, 5, 10, 30, 60, 300) if step * self._px >= 70), 600)
        first = math.ceil(self._start / step)
        ticks = [tick * step for tick in range(first, math.floor(self._end / step) + 1)]
        self._axes.set_xticks(ticks, [f"{tick // 60}:{tick % 60:02d}" for tick in ticks], size=8.5, color=FAINT)
        self._axes.set_yticks([])
        self._axes.tick_params(axis="x", length=0, pad=3)
        for spine in self._axes.spines.values():
            spine.set_visible(False)
        for tick in ticks:
            self._axes.vlines(tick, AGENT_WAVE[0], CALLER_WAVE[1], color=RULE, lw=0.6, zorder=0)
        for name, lane, colour in (("caller", CALLER_WAVE, CALLER), ("agent", AGENT_WAVE, AGENT)):
            self._axes.hlines(sum(lane) / 2, self._start, self._end, color=RULE, lw=0.8, zorder=0)
            self._axes.annotate(
                name, (self._start, sum(lane) / 2), (-12, 0), textcoords="offset points",
                ha="right", va="center", size=11, weight="bold", color=colour,
            )  # fmt: skip

    def _box(self, start: float, end: float, lane: tuple[int, int], **style: Any) -> None:
        from matplotlib.patches import Rectangle

        start, end = max(start, self._start), min(end, self._end)
        if end > start:
            self._axes.add_patch(Rectangle((start, lane[0]), end - start, lane[1] - lane[0], lw=0, **style))

    def _spans(self, spans: list[Span], lane: tuple[int, int], colour: str) -> None:
        for span in spans:
            self._box(span.start, span.end, lane, facecolor=colour, zorder=0.5)

    def _wave(self, samples: "numpy.ndarray[Any, Any]", lane: tuple[int, int], colour: str) -> None:
        """Draw the peak of each half pixel, scaled up where the line is quiet."""
        import numpy

        cell = max(1, int(LOOK_HZ / self._px / 2))
        piece = samples[int(self._start * LOOK_HZ) : int(self._end * LOOK_HZ)].astype(float)
        piece = piece[: len(piece) // cell * cell].reshape(-1, cell)
        loudest = max(
            float(numpy.abs(samples.astype(float)).max(initial=0.0)), 1_000.0
        )  # a line of noise alone stays small
        middle, half = sum(lane) / 2, (lane[1] - lane[0]) / 2 * 0.94 / loudest
        time = self._start + (numpy.arange(len(piece)) + 0.5) * cell / LOOK_HZ
        low, high = piece.min(axis=1, initial=0.0), piece.max(axis=1, initial=0.0)
        self._axes.fill_between(time, middle + half * low, middle + half * high, color=colour, lw=0.4, zorder=2)

    def _captions(self, spans: list[Span], y: float, side: str, colour: str) -> None:
        """Write each caption at the beginning of its words, as wide as the room before the next one."""
        mine = [span for span in spans if span.text and self._first_room(span)]
        free = 0.0
        for index, span in enumerate(mine):
            x = max((span.start - self._start) * self._px, 0.0, free)
            after = mine[index + 1].start - self._start if index + 1 < len(mine) else self._end - self._start
            room = min(after * self._px - x - GAP_PX, CAPTION_PX)
            if room < NARROWEST_PX:
                continue
            lines = textwrap.wrap(span.text, int(room / CHARACTER_PX), max_lines=CAPTION_LINES, placeholder=" …")
            self._axes.text(
                self._start + x / self._px, y, "\n".join(lines), size=8.8, color=colour, va=side,
                linespacing=1.25, parse_math=False, zorder=4,
            )  # fmt: skip
            free = x + room

    def _first_room(self, span: Span) -> bool:
        """Return whether the words of `span` belong to this row: it begins here, or too late in the row before."""
        narrowest = (NARROWEST_PX + GAP_PX) / self._px
        begins = self._start <= span.start < self._end
        return begins or (span.start < self._start < span.end and self._start - span.start < narrowest)

    def _cuts(self) -> None:
        for span in self._scene.agent_spans:
            if span.cut and self._start <= span.end < self._end:
                self._axes.vlines(span.end, *AGENT_WAVE, color=CUT, lw=1.6, zorder=3)
                self._axes.plot([span.end], [AGENT_WAVE[1]], marker="v", ms=6, color=CUT, zorder=3)

    def _waterfall(self, began: float, falls: latency.Waterfall) -> None:
        """Draw a bracket from the caller's last word down to the first sound, its steps in colour."""
        total = (falls.total_ms or 0) / 1000
        if not self._start <= began < self._end:
            return
        low = BETWEEN[0]
        for x, top in ((began, CALLER_WAVE[1]), (began + total, AGENT_WAVE[0])):
            self._axes.vlines(x, min(top, low), max(top, low), color=FAINT, lw=0.8, linestyles=(0, (3, 2)), zorder=1)
        for step in falls.steps:
            start = began + step.start / 1000
            self._box(start, start + step.length / 1000, (low + 1, low + 5), facecolor=STEPS[step.name], zorder=3)
            if step.length / 1000 * self._px >= STEP_PX:
                middle = start + step.length / 2000
                self._axes.text(middle, low + 6, str(step.length), size=7, color=FAINT, ha="center", va="bottom")
        after = began + total + 6 / self._px
        self._axes.text(after, low + 3, f"{falls.total_ms} ms", size=9.5, weight="bold", color=INK, va="center")
