"""Reasoning and tool calls in a model's text are never spoken, however the text is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from stages.llm.unspoken import MAX_HELD, Unspoken

CALL = '{"name": "book", "arguments": {"day": "{Sunday}", "at": 9}}'

# text of the model -> what is spoken, how many tool calls
TABLE = [
    ("We open at nine.", "We open at nine.", 0),
    ("<think>Hm, nine?</think>We open at nine.", "We open at nine.", 0),
    ("<think>\nHm.\n</think>\n\nWe open.", "We open.", 0),
    ("We <think>no</think>open.", "We open.", 0),
    ("<thinking>a</thinking>b<reasoning>c</reasoning>d", "bd", 0),
    ("<THINK>a</THINK>b", "b", 0),
    ("</think>We open.", "We open.", 0),
    ("<think>never closed", "", 0),
    ("<think>a < b and <b>c</b></think>d", "d", 0),
    ("3 < 5, and <b>bold</b>", "3 < 5, and <b>bold</b>", 0),
    ("I <thin", "I <thin", 0),
    ("a <thinner> b", "a <thinner> b", 0),
    (CALL, "", 1),
    (f"One moment. {CALL}", "One moment.", 1),
    (f"{CALL}\nDone.", "Done.", 1),
    (f"[{CALL}, {CALL}]", "", 1),
    (f"```json\n{CALL}\n```\nDone.", "Done.", 1),
    (f"```\n{CALL}\n```", "", 1),
    (f"<tool_call>{CALL}</tool_call>", "", 1),
    (f"<tool_call>\n{CALL}\n</tool_call> Done.", "Done.", 1),
    ("<tool_call>book(Sunday)</tool_call>Done.", "Done.", 1),
    (f"<tool_call>{CALL}", "", 1),
    (f"[TOOL_CALLS][{CALL}]", "", 1),
    (f"<|python_tag|>{CALL}", "", 1),
    ('{"type": "function", "function": {"name": "book", "parameters": {}}}', "", 1),
    ('{"function": "book", "arguments": "{}"}', "", 1),
    ('{"name": "book", "arguments": {"day": "Sun', "", 1),  # cut off
    ('{"price": 9}', '{"price": 9}', 0),
    ("Use {braces} here.", "Use {braces} here.", 0),
    ("a [link] b", "a [link] b", 0),
    ("It ends with {", "It ends with {", 0),
    ("```python\nprint(1)\n```", "```python print(1) ```", 0),
    ('```json\n{"price": 9}\n```', '```json {"price": 9} ```', 0),
    ("Press [", "Press [", 0),
    ("", "", 0),
]


def spoken(text: str, sizes: list[int]) -> tuple[str, int]:
    """The text that is left, without runs of white space, and the number of calls."""
    unspoken, found = Unspoken(), ""
    while text:
        size = sizes.pop(0) if sizes else len(text)
        found += unspoken.feed(text[:size])
        text = text[size:]
    return " ".join((found + unspoken.flush()).split()), len(unspoken.calls)


@pytest.mark.parametrize(("text", "expected", "calls"), TABLE)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 1_000])
def test_what_is_spoken(text: str, expected: str, calls: int, size: int) -> None:
    assert spoken(text, [size] * len(text)) == (expected, calls)


@given(some.sampled_from(TABLE), some.lists(some.integers(1, 9), max_size=40))
def test_where_the_text_is_cut_makes_no_difference(row: tuple[str, str, int], sizes: list[int]) -> None:
    assert spoken(row[0], sizes) == row[1:]


@given(some.text('<>/think{}[]"`: \nab|_', max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    assert spoken(text, [1] * len(text)) == spoken(text, [])


def test_plain_text_is_not_held_back() -> None:
    unspoken = Unspoken()
    assert unspoken.feed("We open at ") == "We open at "
    assert unspoken.feed("nine, a < b") == "nine, a < b"


def test_a_call_keeps_its_name_and_arguments() -> None:
    unspoken = Unspoken()
    unspoken.feed(CALL)
    [call] = unspoken.calls
    assert (call.name, call.arguments) == ("book", '{"day": "{Sunday}", "at": 9}')


@pytest.mark.parametrize("opening", ['{"name": "', "<tool_call>", "<think>", "[["])
def test_what_never_ends_is_not_kept(opening: str) -> None:
    unspoken = Unspoken()
    unspoken.feed(opening)
    for _ in range(50):
        unspoken.feed("x" * 1_000)
        assert len(unspoken._rest) <= MAX_HELD + 1_100
