"""Where a question has parts that are answered one by one."""

import pytest

from stages.llm.question_parts import question_parts


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        ("When are you open?", 1),
        ("My son is five, would you take him?", 1),
        ("I cracked a molar last night and it's killing me.", 1),
        ("When are you open and where can I park?", 2),
        ("When are you open? Where are you? Is there a bus?", 3),
        ("What? Where? Who? When?", 1),  # too many to answer at once
    ],
)
def test_a_question_splits_into_its_parts(asked: str, parts: int) -> None:
    assert len(question_parts(asked)) == parts
