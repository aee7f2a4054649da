"""Removes Markdown, HTML tags and entities from text that a model writes piece by piece. Pure.

markdown-it-py reads the inline markup. This module decides only how much of the stream it may read: plain text passes
at once, and a stretch of markup waits until it is closed. How the text was cut into pieces makes no difference.

Markup that carries no words goes: emphasis, link targets, tags, headings, bullets, table lines, the language of a code
block. Struck text goes with its marks: `~~forty~~ fifty` takes "forty" back, and a listener cannot see the line through
it. Signs stay: the star of `2*3` and of "Press *", `3 < 5`, `&`. The rest of the pipeline keeps this readable text.
"""

import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

HOLD = 120  # characters, about 30 tokens: a stretch that is still open then is text that only looks like markup
HOLD_KEY = 40  # characters: "*9" is more often a key of a telephone than the start of emphasis
HOLD_LINE = 1_000  # characters: a table row or the first line of a code block that is longer is plain text

_MARKDOWN = MarkdownIt("commonmark").enable("strikethrough")

# Where a stretch begins: a character that may be markup. "!" alone may become the "![" of a picture.
_START = re.compile(r"!\[|[*_~`\[<&\\]|!\Z")
_END = re.compile(r"\s|[。！？，、]")
_KEY = re.compile(r"\*\d")

# The first characters of a line, by what they make of it.
_MAY_BE_BLOCK = re.compile(r"[ \t]*(?:[#>*+•|=_`~-]|$)")
_LINE_MARK = re.compile(r"[ \t]*(?:#{1,6}(?=\s)|[-*+•](?=\s)|>(?!\s*[\d=]))[ \t]*(?=\S)")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})[^`\n]*$")
_WHOLE_LINE = re.compile(r"[ \t]*(?:\||`{3}|~{3}|[-*_=:| \t]+$)")
_RULE = re.compile(r"[ \t]*([-*_=])(?:[ \t]*\1){2,}[ \t]*$")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t:]*-{2,}[-|: \t]*$")

# Signs that CommonMark takes for emphasis: between digits, or between single letters, a star multiplies.
_TIMES = re.compile(r"(?<=\d)\*{1,2}(?=\d)|(?<![^\W_]{2})(?<=[^\W_])\*(?=[^\W_](?![^\W_]))")
_STAR = "\ue000"  # stands for such a star while markdown-it reads the text; a private character, in no text

# What stands right before a stretch decides how CommonMark reads a star or a line below: two characters suffice.
_BEFORE = re.compile(r"[^\s*_~`\[\]<>&\\]{0,2}\Z")

# Which marks of a stretch are open: code and links that are closed are taken out first.
_CODE = re.compile(r"(`+).+?(?<!`)\1(?!`)")
_LINK = re.compile(r"\[[^\[\]]*\](?:\([^()]*\))?")
_TAG_OPENS = re.compile(r"<[A-Za-z/!?][^<>]*$")
_OPENS = re.compile(r"(?<![\w*_~])(\*+|_+|~~)(?=[^\s*_~])")
_CLOSES = re.compile(r"(?<=[^\s*_~])(?:(\*+|~~)|(_+)(?!\w))")
# What a tag looks like. `x<y and z>w` is one to CommonMark, with "and" as an attribute, but not to a caller.
_TAG = re.compile(r"""<(?:[!?].*|/?[A-Za-z][\w:-]*(?:\s+[\w:-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))*\s*/?)>""", re.S)
# Half of a pair whose other half never came. A star before a digit is a key of a telephone.
_HALF = re.compile(r"[*~]{2,}|(?<!\S)(?:_{2,}|_(?=\S)|\*(?=[^\W\d]))|(?<=[^\s_])_+(?!\S)|(?<=[^\W\d])\*(?!\S)|`+")


class MarkupRemover:
    """Removes the markup of one text that comes in pieces."""

    def __init__(self) -> None:
        self._rest = ""  # not decided yet
        self._line_begins = True
        self._fence = ""  # the fence of the code block that is open
        self._before = ""  # up to two characters that were returned last, back to a space or a sign of markup

    def feed(self, piece: str) -> str:
        """Return the text that `piece` decides."""
        self._rest += piece
        return "".join(self._decided(final=False))

    def flush(self) -> str:
        """Return the rest of the text when no more pieces come."""
        return "".join(self._decided(final=True))

    def _decided(self, *, final: bool) -> list[str]:
        decided: list[str] = []
        while self._rest and (taken := self._take(final)) is not None:
            decided.append(taken)
        return decided

    def _take(self, final: bool) -> str | None:
        """Return the next part without its markup, None if that needs more text."""
        if self._line_begins:
            return self._begin_line(final)
        if self._fence:
            return self._pass(self._end_of_line())
        start = _START.search(self._rest)
        newline = self._rest.find("\n")
        if start is None or 0 <= newline < start.start():
            return self._pass(newline + 1 if newline >= 0 else len(self._rest))
        if start.start() > 0:
            return self._pass(start.start())
        end = self._stretch(final)
        if end is None:
            return None
        shown = _shown(self._before, self._rest[:end])
        return self._cut(end, shown)

    def _begin_line(self, final: bool) -> str | None:
        """Remove one mark at the start of a line: a fence, a rule, a heading, a bullet, the borders of a table."""
        line, newline, _ = self._rest.partition("\n")
        if len(line) > HOLD_LINE or not _MAY_BE_BLOCK.match(line):
            self._line_begins = False
            return ""
        if not newline and not final and (_WHOLE_LINE.match(line) or len(line.split()) < 2):
            return None  # a mark is known by the word behind it
        fence = _FENCE.match(line)
        if self._fence and fence and fence[1].startswith(self._fence):
            self._fence = ""
            return self._drop_line()
        if fence and not self._fence:
            self._fence = fence[1]
            return self._drop_line()
        if _RULE.match(line) or ("|" in line and _TABLE_RULE.match(line)):
            return self._drop_line()
        if self._fence:
            self._line_begins = False
            return ""
        if mark := _LINE_MARK.match(line):
            self._rest = self._rest[mark.end() :]
            return ""
        if line.lstrip().startswith("|"):
            cells = ", ".join(cell.strip() for cell in line.split("|") if cell.strip())
            self._rest = cells + self._rest[len(line) :]
        self._line_begins = False
        return ""

    def _stretch(self, final: bool) -> int | None:
        """Return where the markup at the start of the rest is closed, None if that needs more text."""
        line = self._rest.partition("\n")[0]
        hold = HOLD_KEY if _KEY.match(line) else HOLD
        for end in _END.finditer(line, 0, hold + 1):
            if not _is_open(line[: end.start()]):
                return end.start()
        if len(line) > hold:
            return hold
        return len(line) if final or len(line) < len(self._rest) else None

    def _end_of_line(self) -> int:
        newline = self._rest.find("\n")
        return newline + 1 if newline >= 0 else len(self._rest)

    def _drop_line(self) -> str:
        self._rest = self._rest[self._end_of_line() :]
        self._before = ""
        return ""

    def _pass(self, end: int) -> str:
        return self._cut(end, self._rest[:end])

    def _cut(self, end: int, shown: str) -> str:
        self._line_begins = self._rest[:end].endswith("\n")
        self._rest = self._rest[end:]
        if shown:
            self._before = _context(self._before + shown)
        return shown


def remove_inline_markup(text: str) -> str:
    """Return `text`, a part of a reply, without inline markup; what begins it is not the beginning of a line."""
    return _shown("", text) if _START.search(text) else text


def _context(text: str) -> str:
    context = _BEFORE.search(text)
    return context[0] if context else ""


def _is_open(stretch: str) -> bool:
    """Whether markup that `stretch` opens is not closed in it."""
    stretch = _CODE.sub("", stretch)
    if "`" in stretch or _TAG_OPENS.search(stretch):
        return True
    stretch = _LINK.sub("", stretch)
    if "[" in stretch:
        return True
    return len(_OPENS.findall(stretch)) > len(_CLOSES.findall(stretch))


def _shown(before: str, stretch: str) -> str:
    """Return `stretch` without inline markup; `before` are the characters right before it."""
    text = _TIMES.sub(lambda star: _STAR * len(star[0]), before + stretch)
    tokens = _MARKDOWN.parseInline(text)[0].children or []
    shown = _HALF.sub("", "".join(_words(tokens))).replace(_STAR, "*")
    return shown.removeprefix(before)


def _words(tokens: list[Token]) -> list[str]:
    """The text of `tokens`, without what is struck."""
    words = []
    struck = 0
    for token in tokens:
        if token.type == "s_open":
            struck += 1
        elif token.type == "s_close":
            struck -= 1
        elif struck:
            continue
        elif token.type in ("softbreak", "hardbreak"):
            words.append("\n")
        elif token.type == "html_inline" and _TAG.fullmatch(token.content):
            words.append("" if token.content.startswith("</") else " ")
        else:
            words.append(token.content)
    return words
