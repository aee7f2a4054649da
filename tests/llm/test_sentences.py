"""From pieces of text to segments that can be spoken."""

from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.llm.contract import Finish, ReplyItem, TextDelta
from stages.llm.reply import APOLOGY, segments
from stages.llm.sentences import MAX_SEGMENT, Segmenter, plain


def split(*pieces: str) -> list[str]:
    segmenter = Segmenter()
    return [segment for piece in pieces for segment in segmenter.feed(piece)] + segmenter.flush()


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("We open at nine.", ["We open at nine."]),
        ("We open at nine. Anything else?", ["We open at nine.", "Anything else?"]),
        ("Really? Yes! Good.", ["Really?", "Yes!", "Good."]),
        ("It is 4.50 euros. Or 1,000 for all.", ["It is 4.50 euros.", "Or 1,000 for all."]),
        ("Open from 9 a.m. to 5 p.m. We close on Sunday.", ["Open from 9 a.m. to 5 p.m.", "We close on Sunday."]),
        ("Ask for Dr. Smith or Mrs. J. R. Jones. Bye.", ["Ask for Dr. Smith or Mrs. J. R. Jones.", "Bye."]),
        ("Bring some, e.g. a coat, i.e. yours. Thanks.", ["Bring some, e.g. a coat,", "i.e. yours.", "Thanks."]),
        ("No. We are closed.", ["No.", "We are closed."]),
        ("Take bus no. 5 there. Then walk.", ["Take bus no. 5 there.", "Then walk."]),
        ("It costs 4. 50 people came.", ["It costs 4. 50 people came."]),
        ("We met in 1999. That was good.", ["We met in 1999.", "That was good."]),
        ("1. Open the door.\n2. Go in.", ["1. Open the door.", "2. Go in."]),
        ("Wait... what? I see…  Fine.", ["Wait...", "what?", "I see…", "Fine."]),
        ('He said "come in." Then he left.', ['He said "come in."', "Then he left."]),
        ("我们九点开门。欢迎！", ["我们九点开门。", "欢迎！"]),
        ("One line\nanother line", ["One line", "another line"]),
        ("See example.com today. OK.", ["See example.com today.", "OK."]),
        ("", []),
        ("  \n ", []),
    ],
)
def test_sentences_end_where_a_reader_would_stop(text: str, segments: list[str]) -> None:
    assert split(text) == segments


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("We open at nine, and close at five, always.", ["We open at nine,", "and close at five, always."]),
        ("Sure, we open at nine.", ["Sure, we open at nine."]),
        ("Just a moment please: I look, and see.", ["Just a moment please:", "I look, and see."]),
        (
            "That is a lot – but fair. Yes, it is so, really.",
            ["That is a lot –", "but fair.", "Yes, it is so, really."],
        ),
    ],
)
def test_the_first_clause_goes_out_on_its_own_if_it_is_worth_it(text: str, segments: list[str]) -> None:
    assert split(text) == segments


def test_the_first_clause_is_out_before_the_rest_has_come() -> None:
    segmenter = Segmenter()
    assert segmenter.feed("We open at nine,") == []
    assert segmenter.feed(" and") == ["We open at nine,"]


REPLIES = st.text(
    alphabet=st.sampled_from(list("ab AB12.,!?;:-–\n\"') …。")) | st.characters(codec="utf-8"), max_size=400
)


@given(REPLIES, st.data())
def test_how_the_reply_was_cut_into_pieces_makes_no_difference(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(*pieces) == split(text)


@given(REPLIES)
def test_nothing_is_lost_but_white_space(text: str) -> None:
    assert "".join("".join(split(text)).split()) == "".join(text.split())


@given(st.text(alphabet="ab .,", max_size=2_000))
def test_no_segment_is_longer_than_a_breath(text: str) -> None:
    assert all(0 < len(segment) <= MAX_SEGMENT for segment in split(text))


def test_a_reply_without_a_stop_is_cut_between_words() -> None:
    segments = split("word " * 200)
    assert all(len(segment) <= MAX_SEGMENT for segment in segments)
    assert {word for segment in segments for word in segment.split()} == {"word"}


@given(st.from_regex(r"[1-9][0-9]{0,3}[.,][0-9]{1,3}", fullmatch=True), st.data())
def test_no_number_is_ever_cut(number: str, data: st.DataObject) -> None:
    text = f"It will cost you {number} euros. Really."
    cut = data.draw(st.integers(0, len(text)))
    assert any(number in segment for segment in split(text[:cut], text[cut:]))


@pytest.mark.parametrize(
    ("language", "text", "segments"),
    [
        ("en", "Ask Rev. Green or Gen. Lee. Bye.", ["Ask Rev. Green or Gen. Lee.", "Bye."]),
        ("en", "You may. Then come in.", ["You may.", "Then come in."]),
        ("en-GB", "Ask Dr. Smith. Bye.", ["Ask Dr. Smith.", "Bye."]),
        ("de", "Wir haben z.B. Brot bzw. Kuchen. Bis dann.", ["Wir haben z.B. Brot bzw. Kuchen.", "Bis dann."]),
        ("de-AT", "Am 3. Mai um 9 Uhr. Bis dann.", ["Am 3. Mai um 9 Uhr.", "Bis dann."]),
        ("es", "El Sr. López llega. ¿Qué tal? Bien.", ["El Sr. López llega.", "¿Qué tal?", "Bien."]),
        ("hi", "नमस्ते। आप कैसे हैं? ठीक।", ["नमस्ते।", "आप कैसे हैं?", "ठीक।"]),
        ("ar", "مرحبا. كيف حالك؟ جيد.", ["مرحبا.", "كيف حالك؟", "جيد."]),
        ("ja", "九時に開きます。次です！", ["九時に開きます。", "次です！"]),
        ("ja", "はい、九時に開いて、五時に閉まります。", ["はい、九時に開いて、", "五時に閉まります。"]),
        ("no such", "One. Two.", ["One.", "Two."]),
    ],
)
def test_sentences_end_where_a_reader_of_that_language_would_stop(
    language: str, text: str, segments: list[str]
) -> None:
    segmenter = Segmenter(language)
    assert [segment for char in text for segment in segmenter.feed(char)] + segmenter.flush() == segments
    whole = Segmenter(language)
    assert whole.feed(text) + whole.flush() == segments


def test_a_full_stop_ends_an_english_sentence_before_the_next_word_has_come() -> None:
    segmenter = Segmenter()
    assert segmenter.feed("We open at nine.") == []
    assert segmenter.feed(" ") == ["We open at nine."]


def test_half_a_character_ends_a_sentence_too() -> None:
    assert split("\ud83d. Bye.") == ["\ud83d.", "Bye."]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00b\x1b[31m\u200bc\u2028d", "a b [31m c d"),
        ("  one\n two ", "one two"),
        ("2 < 3 and 5 > 4", "2 < 3 and 5 > 4"),
    ],
)
def test_a_segment_is_one_printable_line(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text())
def test_a_segment_holds_nothing_that_cannot_be_printed(text: str) -> None:
    shown = plain(text)
    assert shown == " ".join(shown.split())
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("**We** open at `nine`.", ["We open at nine."]),
        ("**We open at nine.** Then we close.", ["We open at nine.", "Then we close."]),
        ("# Hours", ["Hours"]),
        ("- Monday: *nine* to five", ["Monday: nine to five"]),
        ("See [our page](https://example.com/a_b).", ["See our page."]),
        ('<speak>Hello <break time="0.5s"/>you</speak>', ["Hello you"]),
        ("snake_case and _this_ one", ["snake_case and this one"]),
        ("2 < 3 and 5 > 4", ["2 < 3 and 5 > 4"]),
        ("a\x00b\x1b[31m\u200bc\u2028d", ["a b [31m c d"]),
        ("```\n***\n```", []),
        ("~~Forty~~ fifty. Press 1, * then #. Bye.", ["fifty.", "Press 1, * then #.", "Bye."]),
    ],
)
async def test_what_a_model_writes_comes_as_plain_segments(text: str, spoken: list[str]) -> None:
    async def letters() -> AsyncGenerator[ReplyItem, None]:
        for letter in text:
            yield TextDelta(letter)
        yield Finish()

    pieces = [piece.text async for piece in segments(letters()) if not piece.failure]
    assert [piece for piece in pieces if piece and piece != APOLOGY] == spoken
