"""Markup goes before sentences are cut; signs and words stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.markup import HOLD, HOLD_KEY, MarkupRemover, remove_inline_markup


def remove_markup(text: str) -> str:
    """Return the whole `text` without markup."""
    remover = MarkupRemover()
    return remover.feed(text) + remover.flush()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**We** open at `nine`.", "We open at nine."),
        ("**We open at nine.** Then we close.", "We open at nine. Then we close."),
        ("# Hours", "Hours"),
        ("## Hours\nNine to five", "Hours\nNine to five"),
        ("Hours\n=====\nNine", "Hours\nNine"),
        ("- Monday: *nine* to five", "Monday: nine to five"),
        ("* one\n+ two\n• three", "one\ntwo\nthree"),
        ("- - nested", "nested"),
        ("> quoted\n> > twice", "quoted\ntwice"),
        ("above\n---\nbelow\n* * *\nend", "above\nbelow\nend"),
        ("| Day | Hours |\n|---|:--|\n| Mon | **9-5** |\n", "Day, Hours\nMon, 9-5\n"),
        ("See [our page](https://example.com/a_b).", "See our page."),
        ("![a map](map.png) Here!", "a map Here!"),
        ("<https://x.io/a?b=1>", "https://x.io/a?b=1"),
        ('<speak>Hello <break time="0.5s"/>you</speak>', " Hello  you"),
        ("nine<br>ten <!-- no --> <b>now</b>.", "nine ten    now."),
        ("snake_case and _this_ one", "snake_case and this one"),
        ("~~forty~~ fifty", " fifty"),
        ("```python\nprint(2*3)\n```\nDone.", "print(2*3)\nDone."),
        ("~~~\nx = 1\n~~~", "x = 1\n"),
        ("```\n***\n```", ""),
        ("&amp; &lt; &#39; &eacute; &nbsp;", "& < ' é \xa0"),
        (r"\*not this\_one", "not this_one"),
        ('"**bold**" (_it_) **bold:**text', '"bold" (it) bold:text'),
        ("a ** or ____ alone", "a  or  alone"),
        ("a half** of a **pair and a `tick", "a half of a pair and a tick"),
    ],
)
def test_markup_goes(text: str, shown: str) -> None:
    assert remove_markup(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "2*3*4 is 24",
        "2 * 3, 2**3 and x*y*z, or _ and *",
        "Press * then #",
        "Press *9 now or *8.",
        "2 < 3 and 5 > 4",
        "x<y and z>w",
        "> 5 people",
        "-5 degrees",
        "3 < 5 & 7 > 6",
        "about ~5 minutes",
        "AT&T & R&D",
        "see [1] or [x]!",
        "C:\\x",
        "jo.o@x.io",
        "https://x.io/a?b=1&c=2",
        "日本語です。はい！",
    ],
)
def test_signs_and_words_stay(text: str) -> None:
    assert remove_markup(text) == text


def test_what_begins_a_part_of_a_reply_is_no_bullet() -> None:
    assert remove_inline_markup("* then **5**") == "* then 5"
    assert remove_markup("* then **5**") == "then 5"


def test_plain_text_is_not_held_back() -> None:
    remover = MarkupRemover()
    pieces = ["We", " open", " at *", "nine*", ", al", "ways"]
    assert [remover.feed(piece) for piece in pieces] == ["We", " open", " at ", "", "nine, al", "ways"]


@pytest.mark.parametrize(("mark", "most"), [("**", HOLD), ("*9 ", HOLD_KEY), ("[", HOLD), ("<b", HOLD), ("`", HOLD)])
def test_markup_that_never_closes_is_held_for_so_long_and_no_longer(mark: str, most: int) -> None:
    remover = MarkupRemover()
    text = f"Say {mark}" + "word " * 60
    shown = ""
    for place, char in enumerate(text):
        shown += remover.feed(char)
        assert len(shown) + most + len(mark) >= place
    assert "".join((shown + remover.flush()).split()).endswith("word" * 60)


MARKS = "** * _ ~~ ` ``` | [ ]( ) <b> </b> < > &amp; \\ one 2 é 。 ! --- ===".split()
TEXTS = st.lists(st.sampled_from([*MARKS, " ", ". ", "\n", "\n- ", "\n# "]) | st.text(max_size=3)).map("".join)


@given(TEXTS, st.data())
def test_how_the_text_was_cut_into_pieces_makes_no_difference(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    remover = MarkupRemover()
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(map(remover.feed, pieces)) + remover.flush() == remove_markup(text)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="*_~`[<&\\!#>+-•|=\r\x00\ue000")))
def test_text_without_signs_passes_as_it_is(text: str) -> None:
    assert remove_markup(text) == text


@given(st.text(alphabet="abc 12.,*_~`#>-+|=\n", max_size=300))
def test_no_letter_or_digit_is_lost_but_what_is_struck_and_the_language_of_code(text: str) -> None:
    text = text.replace("~~", "~ ").replace("```", "` ")
    assert [char for char in remove_markup(text) if char.isalnum()] == [char for char in text if char.isalnum()]
