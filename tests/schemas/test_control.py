"""Control messages: fields of a later version are ignored; a wrong type, a torn message and noise are refused."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import control
from tests.schemas import samples

KINDS = list(samples.CONTROLS.values())
MESSAGES = [samples.sample(kind) for kind in KINDS]

each_message = pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)


@each_message
def test_a_message_is_decoded_as_it_was_encoded(message: msgspec.Struct) -> None:
    assert control.decode(control.encode(message), type(message)) == message


@each_message
def test_a_field_of_a_later_version_is_ignored(message: msgspec.Struct) -> None:
    later = {**msgspec.structs.asdict(message), "mood": "cheerful", "nested": {"deep": [1, 2]}}
    assert control.decode(msgspec.msgpack.encode(later), type(message)) == message


@each_message
def test_a_message_torn_at_any_byte_is_refused(message: msgspec.Struct) -> None:
    data = control.encode(message)
    for length in range(len(data)):
        with pytest.raises(control.BadMessage, match=f"^cannot read {type(message).__name__}: "):
            control.decode(data[:length], type(message))


@each_message
def test_a_field_of_the_wrong_type_is_refused_and_named(message: msgspec.Struct) -> None:
    for field in message.__struct_fields__:
        wrong = {**msgspec.structs.asdict(message), field: [[0.5]]}
        with pytest.raises(control.BadMessage, match=rf"\$\.{field}\b"):
            control.decode(msgspec.msgpack.encode(wrong), type(message))


@each_message
def test_a_required_field_that_is_missing_is_named(message: msgspec.Struct) -> None:
    for field in msgspec.structs.fields(type(message)):
        if field.required:
            partial = msgspec.structs.asdict(message)
            del partial[field.name]
            with pytest.raises(control.BadMessage, match=f"`{field.name}`"):
                control.decode(msgspec.msgpack.encode(partial), type(message))


@given(st.sampled_from(KINDS), st.binary(max_size=400))
def test_random_bytes_raise_nothing_else(kind: type[msgspec.Struct], data: bytes) -> None:
    with contextlib.suppress(control.BadMessage):
        control.decode(data, kind)


@given(st.sampled_from(MESSAGES), st.data())
def test_a_message_with_random_bytes_in_it_raises_nothing_else(message: msgspec.Struct, data: st.DataObject) -> None:
    good = control.encode(message)
    start = data.draw(st.integers(0, len(good)))
    noise = data.draw(st.binary(max_size=20))
    with contextlib.suppress(control.BadMessage):
        control.decode(good[:start] + noise + good[start + len(noise) :], type(message))


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_without_a_bottom_is_refused(kind: type[msgspec.Struct]) -> None:
    for field in kind.__struct_fields__:
        with pytest.raises(control.BadMessage):
            control.decode(b"\x81" + msgspec.msgpack.encode(field) + b"\x91" * 100_000, kind)
