"""Slots that ingress keeps: for whom, for how long, and for one caller only."""

from schemas.events import Origin
from stages.ingress.reservations import RESERVED_S, Reservations
from transports.transport import NO_ARRIVAL, Arrival


def test_a_slot_admits_one_caller_of_its_agent() -> None:
    slots = Reservations()
    slots.keep("s", 0.0, "desk")
    assert slots.take("s", "other", 1.0) is None
    assert slots.take("unknown", "desk", 1.0) is None
    assert slots.take("s", "desk", 1.0) == NO_ARRIVAL
    assert slots.take("s", "desk", 1.0) is None
    assert len(slots) == 1, "the slot counts until the session does"


def test_a_slot_is_free_again_in_time() -> None:
    slots = Reservations()
    slots.keep("s", 0.0, "desk")
    slots.expire(RESERVED_S)
    assert "s" in slots
    assert slots.take("s", "desk", RESERVED_S + 0.1) is None
    slots.expire(RESERVED_S + 0.1)
    assert "s" not in slots


def test_a_slot_without_an_agent_admits_no_caller() -> None:
    slots = Reservations()
    slots.keep("s", 0.0, within_s=7.5)
    assert slots.take("s", "desk", 1.0) is None


def test_an_expected_caller_brings_its_arrival_however_late() -> None:
    slots = Reservations()
    slots.keep("s", 0.0, within_s=7.5)
    arrival = Arrival(Origin(room="r"))
    slots.expect("s", "desk", arrival)
    slots.expire(1e9)
    assert slots.take("s", "desk", 1e9) == arrival


def test_a_slot_that_is_given_up_is_gone() -> None:
    slots = Reservations()
    slots.keep("s", 0.0, "desk")
    slots.free("s")
    slots.free("s")
    assert len(slots) == 0
