"""The pictures of the documentation, drawn as SVG: nothing to install, and nothing to load from elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Literal, NamedTuple

HEIGHT = 46.0
GAP = 7.0  # between an arrow and the box it leaves or reaches
STEPS = 200  # how finely it is looked where an arrow crosses the edge of a box
LINE_PX = 15.0  # of a label

STYLE = """\
.card { fill: #ffffff; stroke: #d5dae1; }
.box { fill: #eef3fb; stroke: #4a6fa5; stroke-width: 1.5; }
.soft { fill: #f7f7f4; stroke: #9a9a8c; stroke-width: 1.5; }
.warm { fill: #fdf3dc; stroke: #c08a1e; stroke-width: 1.5; }
text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; text-anchor: middle; }
.name { font-size: 15px; font-weight: 600; fill: #1d2733; }
.label { font-size: 12.5px; fill: #3b4754; stroke: #ffffff; stroke-width: 4; paint-order: stroke; }
.event { fill: none; stroke: #3b4754; stroke-width: 1.5; }
.audio { fill: none; stroke: #4a6fa5; stroke-width: 4; }
.aside { fill: none; stroke: #b0562a; stroke-width: 1.5; stroke-dasharray: 5 4; }
"""
HEADS = {"fact": ("#3b4754", 7), "audio": ("#4a6fa5", 3.5), "aside": ("#b0562a", 7)}  # colour, width in line widths


class Point(NamedTuple):
    x: float
    y: float


NOWHERE = Point(0, 0)


@dataclass(frozen=True)
class Box:
    """A box by its middle."""

    x: float
    y: float
    kind: Literal["box", "soft", "warm"] = "box"
    width: float = 112.0

    def holds(self, point: Point) -> bool:
        return abs(point.x - self.x) < self.width / 2 + GAP and abs(point.y - self.y) < HEIGHT / 2 + GAP


@dataclass(frozen=True)
class Arrow:
    """From one box to another. bend: px to the left of its way; both: a head at each end; at: where its label is."""

    start: str
    end: str
    label: str = ""
    kind: Literal["fact", "audio", "aside"] = "fact"
    bend: float = 0.0
    both: bool = False
    at: float = 0.5
    aside: Point = NOWHERE  # how far the label is moved off the line


def draw(title: str, width: int, height: int, boxes: Mapping[str, Box], arrows: list[Arrow]) -> str:
    """The picture as the text of an SVG file."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" width="{width}">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{STYLE}</style>",
        "<defs>",
        *(_head(kind, *looks) for kind, looks in HEADS.items()),
        "</defs>",
        f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        *(_box(name, box) for name, box in boxes.items()),
        *(_line(arrow, boxes) for arrow in arrows),
        *(_label(arrow, boxes) for arrow in arrows if arrow.label),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _head(kind: str, colour: str, size: float) -> str:
    return (
        f'<marker id="{kind}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="{size}" markerHeight="{size}"'
        f' orient="auto-start-reverse"><path d="M0 0 L8 4 L0 8 z" fill="{colour}"/></marker>'
    )


def _box(name: str, box: Box) -> str:
    left, top = box.x - box.width / 2, box.y - HEIGHT / 2
    return (
        f'<rect class="{box.kind}" x="{left:g}" y="{top:g}" width="{box.width:g}" height="{HEIGHT:g}" rx="9"/>'
        f'<text class="name" x="{box.x:g}" y="{box.y + 5:g}">{escape(name)}</text>'
    )


class _Way:
    """A quadratic curve between the middles of two boxes, and the part of it outside of both."""

    def __init__(self, arrow: Arrow, boxes: Mapping[str, Box]) -> None:
        start, end = boxes[arrow.start], boxes[arrow.end]
        self._from, self._to = Point(start.x, start.y), Point(end.x, end.y)
        x, y = end.x - start.x, end.y - start.y
        length = (x * x + y * y) ** 0.5
        self._over = Point(
            (start.x + end.x) / 2 + 2 * arrow.bend * y / length, (start.y + end.y) / 2 - 2 * arrow.bend * x / length
        )
        steps = [step / STEPS for step in range(STEPS + 1)]
        outside = [t for t in steps if not start.holds(self.at(t, t)) and not end.holds(self.at(t, t))]
        self.first, self.last = outside[0], outside[-1]

    def at(self, s: float, t: float) -> Point:
        """The blossom of the curve: the point of parameter t for s = t, else what controls the part from s to t."""
        weights = ((1 - s) * (1 - t), s * (1 - t) + t * (1 - s), s * t)
        points = (self._from, self._over, self._to)
        return Point(
            sum(weight * point.x for weight, point in zip(weights, points, strict=True)),
            sum(weight * point.y for weight, point in zip(weights, points, strict=True)),
        )


def _line(arrow: Arrow, boxes: Mapping[str, Box]) -> str:
    way = _Way(arrow, boxes)
    start, over, end = (
        f"{point.x:.1f} {point.y:.1f}"
        for point in (way.at(way.first, way.first), way.at(way.first, way.last), way.at(way.last, way.last))
    )
    back = f' marker-start="url(#{arrow.kind})"' if arrow.both else ""
    return f'<path class="{arrow.kind}" d="M{start} Q{over} {end}" marker-end="url(#{arrow.kind})"{back}/>'


def _label(arrow: Arrow, boxes: Mapping[str, Box]) -> str:
    way = _Way(arrow, boxes)
    t = way.first + arrow.at * (way.last - way.first)
    x, y = way.at(t, t)
    lines = arrow.label.split("\n")
    top = y + arrow.aside.y + 4 - LINE_PX * (len(lines) - 1) / 2
    spans = "".join(
        f'<tspan x="{x + arrow.aside.x:.1f}" y="{top + number * LINE_PX:.1f}">{escape(line)}</tspan>'
        for number, line in enumerate(lines)
    )
    return f'<text class="label">{spans}</text>'


# --- the pictures -----------------------------------------------------------------------------------------------------

TURNS = [
    Arrow("Listening", "Hearing", "speech_started", bend=18, aside=Point(-34, -12)),
    Arrow("Hearing", "Pausing", "speech_ended", bend=14, aside=Point(0, -12)),
    Arrow("Pausing", "Hearing", "speech_started", bend=14, aside=Point(0, 12)),
    Arrow("Pausing", "Thinking", "deadline", bend=18, aside=Point(36, -10)),
    Arrow("Thinking", "Speaking", "playback_started", bend=18, aside=Point(50, 14)),
    Arrow("Speaking", "Listening", "playback_ended", bend=40, at=0.7, aside=Point(-10, 12)),
    Arrow("Speaking", "Held", "speech_started", "aside", bend=14, aside=Point(-34, 14)),
    Arrow("Held", "Speaking", "deadline", "aside", bend=14, aside=Point(24, -12)),
    Arrow("Held", "Hearing", "transcript_final", "aside", aside=Point(-14, 0)),
]


def call() -> str:
    """The way of a call through the stages: thick arrows are audio, dashed ones what makes it exact."""
    boxes = {
        "caller": Box(82, 70, "soft"),
        "ingress": Box(282, 70),
        "stt": Box(482, 70),
        "llm": Box(702, 70),
        "egress": Box(482, 210),
        "tts": Box(702, 210),
    }
    arrows = [
        Arrow("caller", "ingress", "audio", "audio", both=True, aside=Point(0, -16)),
        Arrow("ingress", "stt", "audio", "audio", aside=Point(0, -16)),
        Arrow("stt", "llm", "words", aside=Point(0, -14)),
        Arrow("llm", "tts", "sentences", aside=Point(38, 0)),
        Arrow("tts", "egress", "audio", "audio", aside=Point(0, 18)),
        Arrow("egress", "ingress", "audio, paced", "audio", aside=Point(-44, 14)),
        Arrow("stt", "egress", "speech started:\nhold!", "aside", at=0.45),
        Arrow("egress", "llm", "what was heard", "aside", at=0.55),
    ]
    return draw("The way of a call through the stages", 790, 270, boxes, arrows)


def turn() -> str:
    """The usual ways through the states of a conversation; the table in turns.md has them all."""
    boxes = {
        "Listening": Box(90, 165, "soft"),
        "Hearing": Box(270, 60),
        "Pausing": Box(530, 60),
        "Thinking": Box(700, 165, "warm"),
        "Speaking": Box(560, 275, "warm"),
        "Held": Box(340, 190, "warm"),
    }
    return draw("The usual ways through the states of a conversation", 790, 330, boxes, TURNS)


PICTURES = {"call-through-stages.svg": call, "turns.svg": turn}
