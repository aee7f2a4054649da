"""What the figures are made of: times of events, counters, the kernel's account."""

import os
import subprocess
import sys
import time
from itertools import pairwise

import msgspec
import pytest

from bench.load import CAPACITY, LATENCY, STARTS_A_SECOND, Load, starts
from bench.measure import Turns, cpu_s, failed, lost, others_s, percentiles, pss_mb
from schemas import events

MS = 1_000  # call_events tell time in microseconds


def turn(session: str, number: int, began: int, took_ms: int) -> list[events.Event]:
    """The events of one answered question whose first audio came `took_ms` after its final transcript."""
    decided = events.TurnStarted(turn=number, answers=number, now_ms=0, time=began + 2 * MS)
    first = events.SentenceReady(turn=number, segment=0, text="Right.", last=False, now_ms=0, time=began + 53 * MS)
    second = events.SentenceReady(turn=number, segment=1, text="And so on.", last=True, now_ms=0, time=began + 99 * MS)
    return [
        msgspec.structs.replace(event, session=session)
        for event in (
            events.TranscriptFinal(utterance=number, text="?", start_sample=0, until_sample=1, time=began),
            decided,
            first,
            second,
            events.PlaybackStarted(turn=number, time=began + took_ms * MS),
        )
    ]


def test_overhead_is_what_the_providers_do_not_take() -> None:
    call_events = turn("a", 2, 1_000_000, 104) + turn("b", 2, 1_500_000, 109)
    assert Turns(call_events).overheads_ms() == [4.0, 9.0]


def test_the_steps_of_a_turn_add_up_to_its_overhead() -> None:
    turns = Turns(turn("a", 2, 1_000_000, 107))
    assert turns.steps_ms() == {"decide": [2.0], "model": [1.0], "voice": [4.0]}


def test_facts_in_any_order_make_the_same_turns() -> None:
    call_events = turn("a", 2, 1_000_000, 104) + turn("a", 3, 2_000_000, 105)
    assert sorted(Turns(call_events[::-1]).overheads_ms()) == [4.0, 5.0]


def test_a_question_that_nobody_answered_is_not_forgotten() -> None:
    call_events = turn("a", 2, 1_000_000, 104) + turn("a", 3, 2_000_000, 105)[:1]
    turns = Turns(call_events)
    assert (turns.asked, len(turns.overheads_ms())) == (2, 1)


def test_only_turns_of_the_stretch_that_was_watched_count() -> None:
    call_events = turn("a", 2, 1_000_000, 104) + turn("a", 3, 2_000_000, 105) + turn("a", 4, 3_000_000, 106)
    turns = Turns(call_events, since=1_500_000, until=2_500_000)
    assert (turns.asked, turns.overheads_ms()) == (1, [5.0])


def test_hearing_is_as_late_as_speech_is_told_after_it_was_spoken() -> None:
    ends = [(16_000, 1_200), (32_000, 2_203), (48_000, 3_201)]  # sample, and ms at which its end was told
    told = [
        events.SpeechEnded(utterance=0, until_sample=at, silence_ms=20, time=when * MS, session="a")
        for at, when in ends
    ]
    assert Turns(told).hearing_ms() == [0.0, 3.0, 1.0]


def test_the_door_takes_from_the_sink_to_the_next_arrival() -> None:
    turns = Turns(turn("a", 2, 1_000_000, 104) + turn("a", 3, 2_000_000, 105))
    assert turns.door_ms({"a": [500_000, 1_107_000, 2_106_000], "b": [1_105_000]}) == [3.0, 1.0]


def test_percentiles_of_a_hundred_and_one_values() -> None:
    assert percentiles([float(value) for value in range(101)]) == {"p50": 50, "p95": 95, "p99": 99, "max": 100}


def test_one_value_has_no_percentiles() -> None:
    with pytest.raises(SystemExit, match="cannot report: fewer than two turns"):
        percentiles([1.0])


def test_what_was_stale_is_not_lost() -> None:
    assert lost([{"gaps": 2, "stale_turn": 5}, {"gaps": 1, "undelivered": 3}]) == {"gaps": 3, "undelivered": 3}


def test_calls_that_hung_up_have_not_failed() -> None:
    reasons: list[events.CloseReason] = ["hangup", "no_worker", "hangup", "no_worker"]
    assert failed(events.SessionClosed(reason=reason) for reason in reasons) == {"no_worker": 2}


@pytest.mark.parametrize("load", [LATENCY, CAPACITY])
@pytest.mark.parametrize("sessions", [1, 20, 100, 300])
def test_calls_begin_apart_and_never_at_the_same_moment_of_a_turn(load: Load, sessions: int) -> None:
    offsets = starts(load, sessions)
    phases = sorted(offset * 1000 % load.every_ms for offset in offsets)
    assert offsets[0] == 0.0
    assert all(after - before >= 0.99 / STARTS_A_SECOND for before, after in pairwise(offsets))
    assert all(after - before > 0.1 for before, after in pairwise(phases))


BUSY = "import time\nuntil = time.process_time() + 0.2\nwhile time.process_time() < until: pass\ninput()"


def test_processor_time_is_that_of_one_process_and_others_are_told_apart() -> None:
    own, others = cpu_s(os.getpid()), others_s()
    busy = subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE)
    while cpu_s(busy.pid) < 0.2:
        time.sleep(0.01)
    assert cpu_s(os.getpid()) - own < 0.1
    assert others_s() - others > 0.19  # 20 ticks, as a float
    busy.communicate(b"\n")
    assert others_s() - others > 0.19  # what has ended is in its parent's account


TAKER = """
import mmap
print(flush=True)
input()
taken = mmap.mmap(-1, 20_000_000)  # never out of what was freed before
for page in range(0, len(taken), mmap.PAGESIZE):
    taken[page] = 1
print(flush=True)
input()
"""


def test_memory_that_is_taken_is_seen() -> None:
    small = subprocess.Popen([sys.executable, "-c", TAKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert small.stdin
    assert small.stdout
    small.stdout.readline()
    before = pss_mb(small.pid)
    small.stdin.write(b"\n")
    small.stdin.flush()
    small.stdout.readline()
    assert 18 <= pss_mb(small.pid) - before <= 25
    small.communicate(b"\n")
