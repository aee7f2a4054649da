"""No id, however crafted, becomes more than one token of a subject."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import subjects
from schemas.subjects import BadId, check_id

GOOD = ["a", "a" * 64, "A-Z_0-9", "-", "_", "7", subjects.new_id()]
BAD: dict[str, object] = {
    "empty": "",
    "65 characters": "a" * 65,
    "a token too many": "a.b",
    "a dot": ".",
    "a dot at the end": "a.",
    "any token": "*",
    "any tail": ">",
    "any token within": "a*",
    "a blank": "a b",
    "a blank at the end": "a ",
    "a tab": "a\tb",
    "a line feed at the end": "a\n",
    "a protocol command": "a\r\nPUB va1.config.set 2\r\nhi",
    "NUL": "a\0",
    "a line separator": "a\u2028b",
    "a path": "../etc",
    "a backslash": "a\\b",
    "a Cyrillic look-alike": "\u0430gent",
    "a full-width letter": "\uff21",
    "an Arabic digit": "\u0661",
    "a combining mark": "e\u0301",
    "an accent": "\u00e9",
    "a surrogate": "\ud800",
    "the JetStream API": "$JS",
    "an inbox": "_INBOX.x",
    "a percent escape": "a%2e",
    "a slash": "a/b",
    "a quote": "a'b",
    "bytes": b"abc",
    "a number": 7,
    "truth": True,
    "nothing": None,
    "a list": ["a"],
}

Builder = Callable[[str], str]
BUILDERS: dict[str, tuple[Builder, int]] = {
    "media worker": (lambda x: subjects.media(x, "s"), 4),
    "media session": (lambda x: subjects.media("w", x), 4),
    "media_to": (subjects.media_to, 4),
    "event agent": (lambda x: subjects.event(x, "s", "stt.speech_started"), 6),
    "event session": (lambda x: subjects.event("a", x, "stt.speech_started"), 6),
    "event stage": (lambda x: subjects.event("a", "s", f"{x}.event"), 6),
    "event event": (lambda x: subjects.event("a", "s", f"stt.{x}"), 6),
    "ephemeral agent": (lambda x: subjects.ephemeral(x, "s", "stt.transcript_interim"), 6),
    "ephemeral session": (lambda x: subjects.ephemeral("a", x, "stt.transcript_interim"), 6),
    "control session": (lambda x: subjects.control(x, "stt", "start"), 5),
    "control stage": (lambda x: subjects.control("s", x, "start"), 5),
    "control verb": (lambda x: subjects.control("s", "stt", x), 5),
    "controls session": (lambda x: subjects.controls(x, "stt"), 5),
    "claim": (subjects.claim, 3),
    "heartbeat coordinator": (lambda x: subjects.heartbeat(x, "w"), 4),
    "heartbeat worker": (lambda x: subjects.heartbeat("i", x), 4),
    "heartbeats_to": (subjects.heartbeats_to, 4),
    "worker": (subjects.worker, 3),
    "config": (subjects.config, 3),
}


@pytest.mark.parametrize("value", GOOD, ids=range(len(GOOD)))
def test_a_good_id_is_returned_unchanged(value: str) -> None:
    assert check_id(value) == value


@pytest.mark.parametrize("value", BAD.values(), ids=BAD.keys())
def test_a_bad_id_is_refused_in_one_short_line(value: object) -> None:
    with pytest.raises(BadId) as refused:
        check_id(value, "session")
    assert str(refused.value).startswith("session ")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("value", [v for v in BAD.values() if isinstance(v, str)], ids=repr)
def test_no_subject_is_built_from_a_bad_id(name: str, value: str) -> None:
    build, _ = BUILDERS[name]
    with pytest.raises(BadId):
        build(value)


@given(st.sampled_from(sorted(BUILDERS)), st.text(max_size=70))
def test_no_subject_differs_in_token_count(name: str, value: str) -> None:
    build, tokens = BUILDERS[name]
    try:
        subject = build(value)
    except BadId:
        return
    assert len(subject.split(".")) == tokens
    assert subject.isascii()
    assert subject.isprintable()
    assert " " not in subject
    assert value in subject.split(".")


@given(st.sampled_from([subjects.events, subjects.ephemerals]), *[st.none() | st.text(max_size=66)] * 3)
def test_a_filter_widens_only_where_nothing_was_asked(
    build: Callable[..., str], agent: str | None, session: str | None, stage: str | None
) -> None:
    try:
        tokens = build(agent, session, stage).split(".")
    except BadId:
        return
    assert len(tokens) == 6
    asked = (agent, session, stage)
    assert [token == "*" for token in tokens[2:5]] == [part is None for part in asked]
    assert tokens[5] == "*"


def test_ids_are_random_and_allowed() -> None:
    made = {subjects.new_id() for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(check_id(one) for one in made)
    assert {len(one) for one in made} == {32}


def test_a_subject_is_read_back() -> None:
    subject = subjects.event("reception", "s1", "stt.transcript_final")
    assert subjects.parse(subject) == ("event", "reception", "s1", "stt.transcript_final")
    assert subjects.parse(subjects.ephemeral("a", "s", "stt.transcript_interim")) is not None
    for other in (subjects.media("w", "s"), subjects.claim("stt"), "", "va2.event.a.s.stt.x", subject + ".more"):
        assert subjects.parse(other) is None
    assert subjects.last_token(subjects.media("w", "s9")) == "s9"
