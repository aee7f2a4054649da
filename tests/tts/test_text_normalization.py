"""What a model writes, as every voice is given it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.llm.sentences import Segmenter, plain
from stages.markup import MarkupRemover
from stages.tts.text_normalization import normalize


def voiced(text: str) -> str:
    """The way of a reply through the stages: without markup, in segments, and each of them in words."""
    markup, segmenter = MarkupRemover(), Segmenter()
    segments = [*segmenter.feed(markup.feed(text)), *segmenter.feed(markup.flush()), *segmenter.flush()]
    return " ".join(filter(None, (normalize(plain(segment)) for segment in segments)))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        # markup
        ("**Free** `parking`", "Free parking"),
        ("~~forty~~ fifty", "fifty"),
        ("```python\nprint(1)\n```\nDone.", "print(1) Done."),
        ("See [our page](https://x.io/a_b).", "See our page."),
        ("# Hours\n- Monday: nine", "Hours Monday: nine"),
        ("AT&amp;T &lt; 5", "AT&T less than 5"),
        ("snake_case", "snake case"),
        ("[1] {x}", "1 x"),
        ("a | b", "a, b"),
        ("Settings → Privacy", "Settings, Privacy"),
        ("a -> b", "a, b"),
        ("It's 5 o'clock -- really.", "It's 5 o'clock — really."),
        # signs
        ("2*3*4 is 24", "2 times 3 times 4 is 24"),
        ("2 * 3", "2 times 3"),
        ("Press * then #", "Press star then pound"),
        ("Press *, then #.", "Press star, then pound."),
        ('Press "#".', 'Press "pound".'),
        ("Dial *67# or #31#.", "Dial star six seven pound or pound three one pound."),
        ("Press 1# now.", "Press one pound now."),
        ("3 < 5 & 7 > 6", "3 less than 5 and 7 greater than 6"),
        ("x < y", "x less than y"),
        ("<5 minutes", "less than 5 minutes"),
        (">= 18", "greater than or equal to 18"),
        ("a != b", "a is not b"),
        ("18+", "18 plus"),
        ("~5 minutes", "about 5 minutes"),
        ("±2", "plus or minus 2"),
        ("5 + 3 = 8", "5 plus 3 equals 8"),
        ("3 - 2 is 1", "3 minus 2 is 1"),
        ("-5 degrees", "minus 5 degrees"),
        ("−5 °C", "minus 5 °C"),
        ("12 ÷ 4", "12 divided by 4"),
        ("3 × 4 = 12", "3 times 4 equals 12"),
        ("2x4", "2 by 4"),
        ("3 x 4", "3 times 4"),
        ("10 x 12 feet", "10 by 12 feet"),
        ("10x faster", "10 times faster"),
        ("2**3 or x^2", "2 to the power of 3 or x to the power of 2"),
        ("√16", "square root of 16"),
        ("We are #1!", "We are number 1!"),
        ("C# and C++", "C sharp and C++"),
        ("#sale", "hashtag sale"),
        ("@joe or joe @ work", "at joe or joe at work"),
        ("salt & pepper", "salt and pepper"),
        ("R&D", "R&D"),
        ("5 @ 3", "5 at 3"),
        ("95% & more", "95% and more"),
        ("key=value", "key equals value"),
        ("C:\\temp", "C: temp"),
        ("© 2026 Acme™", "copyright 2026 Acme"),
        # money
        ("$12.50", "$12.50"),
        ("$1,250.50", "$1,250.50"),
        ("€9.99", "€9.99"),
        ("$2M", "$2M"),
        ("$1.5 million", "$1.5 million"),
        ("$10-$20", "$10 to $20"),
        ("$10–20", "$10 to 20"),
        ("$5M-$6M", "$5M to $6M"),
        ("-$5 or $-5", "minus $5 or minus $5"),
        ("$60/month", "$60 per month"),
        ("$5/hr", "$5 per hour"),
        ("50% off", "50% off"),
        ("10%–20%", "10% to 20%"),
        # dates and times
        ("12/05/2026", "12/05/2026"),
        ("2026-05-12", "2026-05-12"),
        ("May 12, 2026", "May 12, 2026"),
        ("on May 12 2026", "on May 12 2026"),
        ("May 12th", "May 12th"),
        ("Jan 5", "January 5"),
        ("Sept. 5", "September 5"),
        ("Jan–Mar", "January to March"),
        ("2024-2026", "2024-2026"),
        ("2024–2026", "2024 to 2026"),
        ("10.5.2026", "10.5.2026"),
        ("Mon-Fri 8am-6pm", "Monday to Friday 8 AM to 6 PM"),
        ("9:30am", "9:30 AM"),
        ("9.30am", "9:30 AM"),
        ("10:30 AM–2:00 PM", "10:30 AM to 2:00 PM"),
        ("9 a.m.–5 p.m.", "9 a.m. to 5 p.m."),
        ("9:00-17:00", "9:00 to 17:00"),
        ("17:45", "17:45"),
        ("Tue", "Tuesday"),
        ("Mon, Wed and Fri", "Monday, Wednesday and Friday"),
        ("Sat 9-5", "Saturday 9-5"),
        ("Sat and Sun", "Saturday and Sunday"),
        ("The sun and the sat nav", "The sun and the sat nav"),
        ("24/7", "24 7"),
        # numbers
        ("the 1st and 21st", "the 1st and 21st"),
        ("1,234.56", "1,234.56"),
        ("1.000.000", "1,000,000"),
        ("1000000", "1000000"),
        ("1 200 guests", "1 200 guests"),
        ("0.5 or 3.14159", "0.5 or 3.14159"),
        ("1/2 cup", "1/2 cup"),
        ("5 1/2 inches", "5 and 1/2 inches"),
        ("5½", "5 and 1/2"),
        ("½ cup", "1/2 cup"),
        ("3-5 days", "3-5 days"),
        ("3–5 days", "3 to 5 days"),
        ("9 - 5", "9 - 5"),
        ("3:1", "3:1"),
        ("World War II", "World War II"),
        ("Henry VIII", "Henry VIII"),
        ("Chapter IV", "Chapter IV"),
        # codes
        ("Call 555 0142.", "Call five five five, oh one four two."),
        ("+1 415 555 0142", "one, four one five, five five five, oh one four two"),
        ("(415) 555-0142", "four one five, five five five, oh one four two"),
        ("1-800-555-0199", "one, eight oh oh, five five five, oh one nine nine"),
        ("+44 20 7946 0958", "four four, two oh, seven nine four six, oh nine five eight"),
        ("0800 123 456", "oh eight oh oh, one two three, four five six"),
        ("415.555.0142", "four one five, five five five, oh one four two"),
        ("500-1000 people", "500-1000 people"),
        ("4111 1111 1111 1111", "four one one one, one one one one, one one one one, one one one one"),
        ("room 007", "room oh oh seven"),
        ("order number 48213", "order number four eight two one three"),
        ("Your code is 1234.", "Your code is one two three four."),
        ("account 123456789", "account one two three, four five six seven eight nine"),
        ("ZIP code 90210", "ZIP code nine oh two one oh"),
        # addresses and versions
        ("v1.0.0", "version 1 point 0 point 0"),
        ("version 2.10.3", "version 2 point 10 point 3"),
        ("v2 is out", "version 2 is out"),
        ("Version v2 and version v1.0.0", "version 2 and version 1 point 0 point 0"),
        ("Python 3.11", "Python 3.11"),
        ("192.168.0.1", "192 dot 168 dot 0 dot 1"),
        ("jo.o@x.io", "jo dot o at x dot io"),
        (
            "Write to anna_b-c+test@mail.example.co.uk.",
            "Write to anna underscore b dash c plus test at mail dot example dot co dot uk.",
        ),
        ("https://x.io/a?b=1", "x dot io slash a question mark b equals 1"),
        ("www.example.com", "example dot com"),
        ("Visit http://www.example.com/ today, or x.io/faq.", "Visit example dot com today, or x dot io slash faq."),
        ("Open report.pdf with node.js.", "Open report dot pdf with node dot js."),
        # units
        ("20 m²", "20 square meters"),
        ("1 ft³", "1 cubic foot"),
        ("800 sq. ft.", "800 square feet"),
        ("5'10\"", "5 foot 10"),
        ("5 ft 10 in", "5 ft 10 inches"),
        ("2 h 30 min", "2 hours 30 min"),
        ("1 h 5 min", "1 hour 5 min"),
        ("25°C", "25°C"),
        ("50 km/h", "50 km/h"),
        ("5 kg", "5 kg"),
        ("5 mins, 3 hrs", "5 mins, 3 hours"),
        # abbreviations
        ("e.g. a coat, i.e. yours", "for example a coat, that is yours"),
        ("approx. 5", "approximately 5"),
        ("ext. 5", "extension 5"),
        ("No. 5", "number 5"),
        ("p. 5 or pp. 10-12", "page 5 or pages 10-12"),
        ("fig. 3", "figure 3"),
        ("day vs. night", "day versus night"),
        ("w/ milk, w/o sugar", "with milk, without sugar"),
        ("and/or", "and or"),
        ("his/her", "his or her"),
        ("N/A", "N/A"),
        ("Dr. Smith and St. James St.", "Dr. Smith and St. James St."),
        ("the U.S. market", "the U.S. market"),
        ("James Chen", "James Chen"),
        # emoji
        ("Great 👍🏽 job 👩\u200d👩\u200d👧!", "Great job!"),
        ("1\ufe0f\u20e3 one 🇩🇪", "1 one"),
        ("👍", ""),
        ("...", ""),
        ("—", ""),
        ("***", ""),
        ("↗\ufe0f up, \u2139\ufe0f info", "up, info"),
    ],
)
def test_it_is_written_as_it_is_said(written: str, read: str) -> None:
    assert voiced(written) == read
    assert normalize(read) == read


@pytest.mark.parametrize(
    "text", ["$1,250.50", "2024-2026", "3.5 kg", "05/12/2026", "20% off", "9 to 1", "1 200 guests"]
)
def test_what_the_voice_reads_right_is_left_alone(text: str) -> None:
    assert normalize(text) == text


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("**Wir** öffnen um 9 & schließen um 5 😀.", "Wir öffnen um 9 & schließen um 5."),
        ("Mo-Fr 8-18 Uhr, 3 < 5, AT&amp;T", "Mo-Fr 8-18 Uhr, 3 < 5, AT&T"),
        ("日本**語**です。", "日本語です。"),
    ],
)
def test_another_language_only_loses_its_markup(text: str, read: str) -> None:
    assert normalize(text, "de") == read
    assert normalize(text, "de-AT") == read


def test_english_of_any_region_becomes_words() -> None:
    assert normalize("3 < 5", "en-GB") == "3 less than 5"


def test_what_begins_a_segment_is_a_sign_and_no_bullet() -> None:
    assert normalize("* then #.") == "star then pound."
    assert normalize("# 5") == "number 5"


MARKUP = frozenset("*_`#~|<>[]{}\\^")
PIECES = (
    "We open at nine Mon Fri 8am 6pm 5 10 0142 555 v1.0 e.g. No. ½ ² km 👍 a.m. https://x.io/a?b=1 jo@x.io 日本 é x "
    "- – / $ € % * # & @ + = < > ( ) . , : ; ! ? … ~ ^ _ \\ | [ ] { } ' \" ** ~~ `"
).split()
TEXTS = st.lists(st.sampled_from([*PIECES, " ", "\n"]) | st.text(max_size=3), max_size=14).map("".join)


@given(TEXTS | st.text(max_size=80))
def test_nothing_that_cannot_be_said_is_left(text: str) -> None:
    said = normalize(text)
    assert not MARKUP & set(said)
    assert said == said.strip()
    assert not said or any(char.isalnum() for char in said)


WORDS = st.sampled_from("We open at nine, and the fee is low. Ask me! Dr Lee, please (or Ann): yes; no? it's".split())
SIGNS = st.sampled_from("* # & @ + = < > % ~ ^ | / - – — × ÷ ≤ ≥ ≠".split())


@given(st.lists(WORDS | SIGNS, max_size=12).map(" ".join))
def test_words_and_signs_are_all_kept_and_stay_as_they_are_when_read_again(text: str) -> None:
    said = normalize(text)
    assert normalize(said) == said
    letters = iter(re.findall(r"[^\W_]", said))
    assert all(letter in letters for letter in re.findall(r"[^\W_]", text))


NUMBERS = st.from_regex(r"[1-9][0-9]{0,3}(,[0-9]{3})?(\.[0-9]{1,2})?", fullmatch=True)
NAMES = ("oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@given(st.lists(NUMBERS | st.sampled_from("$ € - – / : . , * x + = ( ) # am % °C".split()) | st.just(" "), max_size=9))
def test_no_digit_is_lost(pieces: list[str]) -> None:
    text = "".join(pieces)
    said = normalize(text).replace("zero", "oh")
    digits = re.findall(r"\d|\b(?:" + "|".join(NAMES) + r")\b", said)
    kept = "".join(digit if digit.isdigit() else str(NAMES.index(digit)) for digit in digits)
    assert kept == "".join(re.findall(r"\d", text))
