"""The talk page in a real browser: what is asked into its microphone is answered, shown and heard.

One `antiphon up` for all. For each transport two callers at once: one asks the receptionist, one interrupts a story.
"""

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import soxr
from numpy.typing import NDArray

from antiphon_testing.agents import scripted_agent
from antiphon_testing.caller_pattern import CallerPattern, frames
from antiphon_testing.processes import Platform, Running, attach, running, until
from antiphon_testing.speech import silence
from antiphon_testing.wer import word_error_rate
from cli.audiofile import read_pcm
from cli.demo_voice import speak
from cli.discovery import weights_folder
from composition.errors import StartFailed
from composition.room_server import RoomServer, binary
from gateway.files import PAGE, ROOM_CLIENT
from schemas import events
from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from stages.runtime.providers import ProviderMissing
from stages.runtime.weights import WEIGHTS, locate
from tests.kit.browser import PHONE, TALL, Browser, Talk, browser, needs_chromium, wav

pytestmark = [
    needs_chromium,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
    pytest.mark.realtime,
]

ENGINES = ("moonshine_voice", "onnxruntime", "hibari", "xllamacpp")
# The first without "somewhere": with packets lost, which a busy machine does, a recogniser hears "some where".
QUESTIONS = ("Where can I park my car?", "Wait, are you open on Saturdays?")
WAITS_S = (5.0, 3.0)  # before each question: greeted, in the middle of an answer
STORY_S, STOPS_AFTER_S = 30, 3.0
STOPS, STOPS_EVERY_S = 3, 2.0  # a browser that takes echo and noise away may take a voice with it
HEARD_WITHIN_S = 60.0  # local models and two browsers share two cores
WRONG = 0.2  # of the words at most: two voices of machines, and a recogniser between them
RELOAD_ENDS_WITHIN_S = 3.0  # without a hang-up, ingress waits 10 s for the caller to come back to a room
ROUNDING_MS = 3  # of the three steps, each in whole ms
TOUCH_PX = 40  # the height of a button that a thumb hits
SILENT = 64  # of 32,768: what Opus makes of silence is below
TELLER = scripted_agent(
    "teller",
    stt={"texts": ["Tell me a story.", "Stop, please."], "interim_ms": 100},
    llm={"replies": ["Once upon a time there was a king.", "As you like."]},
    tts={"duration_ms": STORY_S * 1000},
)
LONG_NAME = scripted_agent("reception-of-the-northside-clinic", greeting="Good morning!")
ECHO = scripted_agent("echo", llm={"replies": ["You said {text}"]})


def why_no_models() -> str:
    """Empty where the local models are."""
    missing = [package for package in ENGINES if not importlib.util.find_spec(package)]
    if missing:
        return f"{missing[0]} is not installed: pip install -e '.[local]'"
    try:
        for weight in WEIGHTS:
            locate(weight, weights_folder())
    except ProviderMissing as missing_weight:
        return str(missing_weight)
    return ""


def why_no_rooms() -> str:
    """Empty where the page and the platform can do rooms."""
    if not importlib.util.find_spec("livekit"):
        return "the extra livekit is not installed: pip install -e '.[livekit]'"
    if not (PAGE / ROOM_CLIENT).exists():
        return "the page has no LiveKit client: make page"
    try:
        binary()
    except StartFailed as failed:
        return str(failed)
    return ""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("page")
    warm = "scripted" if why_no_models() else "scripted,local"
    rooms = [] if why_no_rooms() else ["--livekit"]
    with running(folder, "up", "--json", "--warm", warm, "--data", folder, *rooms) as platform:
        yield platform


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(up: Running) -> AsyncIterator[Platform]:
    async with attach(up) as platform:
        await platform.set(TELLER, ECHO, LONG_NAME)
        yield platform


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """For those who say nothing: its microphone beeps."""
    async with browser() as running:
        yield running


@pytest.fixture(params=["websocket", "livekit"])
def transport(request: pytest.FixtureRequest) -> str:
    if request.param == "livekit" and why_no_rooms():
        pytest.skip(why_no_rooms())
    return str(request.param)


# --- callers who speak ------------------------------------------------------------------------------------------------


@dataclass
class Kept:
    """A call as its page told it. agent: what the page played, at `rate`."""

    talk: Talk
    agent: NDArray[np.int16]
    rate: int

    def heard(self) -> str:
        """What a recogniser makes of the first half minute of it."""
        from stages.stt.providers.local import Moonshine

        recogniser = Moonshine()
        pcm = soxr.resample(self.agent[: 30 * self.rate], self.rate, CALLER_HZ).astype("<i2").tobytes()
        text = recogniser.transcribe(pcm)
        recogniser.close()
        return text


async def ask(home: Platform, folder: Path, transport: str, questions: tuple[str, ...]) -> Kept:
    """Questions to the receptionist, a second one into the answer to the first."""
    sounds = [read_pcm(path) for path in await speak(questions, weights_folder() / "caller")]
    asked = b"".join(silence(wait) + sound for wait, sound in zip(WAITS_S, sounds, strict=False))
    async with (
        browser(wav(folder / "questions.wav", asked + silence(60))) as chromium,
        chromium.visit(home.page, "receptionist", transport, viewport=TALL) as talk,
    ):
        await talk.start()
        await talk.until(lambda: len(talk.said("caller")) >= len(questions), HEARD_WITHIN_S)
        await talk.until(lambda: talk.state == "speaking")
        await talk.picture(f"call-{transport}")
        await talk.until(lambda: talk.state == "listening" and bool(talk.lines[-1]["waited"]), HEARD_WITHIN_S)
        _, agent, rate = await talk.hang_up(folder)
        return Kept(talk, agent, rate)


async def interrupt(home: Platform, folder: Path, transport: str) -> Kept:
    """A long story is asked for, and stopped."""
    voice = b"".join(frames(CallerPattern(speech_ms=600, every_ms=620, start_ms=0, linger_ms=0)))
    stop = voice + silence(STOPS_EVERY_S)
    asked = silence(2.0) + voice + silence(STOPS_AFTER_S) + stop * STOPS + silence(60)
    async with (
        browser(wav(folder / "stop.wav", asked)) as chromium,
        chromium.visit(home.page, "teller", transport) as talk,
    ):
        await talk.start()
        await talk.until(lambda: any(line["cut"] for line in talk.lines) and len(talk.said("caller")) > 1)
        await talk.picture(f"interrupted-{transport}")
        _, agent, rate = await talk.hang_up(folder)
        return Kept(talk, agent, rate)


@dataclass
class Calls:
    """Two calls at once over one transport. asked: None where there are no models."""

    questions: tuple[str, ...]
    asked: Kept | None
    interrupted: Kept


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["websocket", "livekit"])
async def calls(request: pytest.FixtureRequest, home: Platform, tmp_path_factory: pytest.TempPathFactory) -> Calls:
    transport = request.param
    if transport == "livekit" and why_no_rooms():
        pytest.skip(why_no_rooms())
    asks, stops = tmp_path_factory.mktemp("asks"), tmp_path_factory.mktemp("stops")
    interrupting = asyncio.create_task(interrupt(home, stops, transport))
    questions = QUESTIONS if transport == "websocket" else QUESTIONS[:1]
    asked = None if why_no_models() else await ask(home, asks, transport, questions)
    return Calls(questions, asked, await interrupting)


@pytest.mark.local
async def test_a_question_is_shown_answered_and_heard(calls: Calls) -> None:
    if calls.asked is None:
        pytest.skip(why_no_models())
    talk = calls.asked.talk
    said, answers = " ".join(talk.said("caller")), " ".join(talk.said("agent"))
    assert word_error_rate(" ".join(calls.questions), said) <= WRONG, said
    assert "free parking" in answers  # to the others a slow machine may answer in one
    assert all(line["waited"].endswith(" ms") for line in talk.lines if line["who"] == "agent")
    assert talk.troubles == []
    assert "parking" in (await asyncio.to_thread(calls.asked.heard)).lower()


async def test_a_second_voice_stops_the_answer(calls: Calls) -> None:
    talk, agent = calls.interrupted.talk, calls.interrupted.agent
    assert talk.said("caller")[:2] == ["Tell me a story.", "Stop, please."]
    assert talk.troubles == []
    loud = np.flatnonzero(np.abs(agent.astype(np.int32)) > SILENT) / calls.interrupted.rate
    ends = np.append(loud[:-1][np.diff(loud) > 0.1], loud[-1])  # of every stretch of sound
    longest = STOPS_AFTER_S + STOPS * (STOPS_EVERY_S + 1)
    assert 0.5 < ends[0] - loud[0] < longest < STORY_S, "it fell silent long before it was told"


# --- callers who type, or may not speak -------------------------------------------------------------------------------


TYPED = 'Tom & "Ann" <b>'  # markup is text here
STATES = ("listening", "thinking", "speaking")  # of a call that has begun; a microphone that beeps may be in any


async def test_who_types_is_answered_too(home: Platform, chromium: Browser, tmp_path: Path, transport: str) -> None:
    async with chromium.visit(home.page, "echo", transport, microphone=False) as talk:
        await talk.page.fill("#text", TYPED)
        await talk.page.press("#text", "Enter")
        await talk.until(lambda: talk.state == "listening" and len(talk.lines) == 2 and bool(talk.lines[1]["waited"]))
        assert talk.said("caller") == [TYPED]
        assert talk.said("agent")[0].startswith("You said Tom")
        assert talk.troubles == []


async def test_a_refused_microphone_is_told_in_words(home: Platform, chromium: Browser) -> None:
    async with chromium.visit(home.page, "echo", microphone=False) as talk:
        await talk.picture("idle")
        await talk.page.evaluate(REFUSE)
        await talk.start()
        await talk.until(lambda: "microphone is blocked" in talk.notice)
        await talk.picture("refused")
        assert talk.phase == "idle"
        assert await talk.page.get_attribute("#notice", "role") == "status"


REFUSE = """() => {
  navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError') }
}"""


async def test_a_call_needs_no_mouse(home: Platform, chromium: Browser) -> None:
    async with chromium.visit(home.page, "echo") as talk:
        keys = talk.page.keyboard
        reached = []
        for _ in range(5):
            await keys.press("Tab")
            reached.append(await talk.page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        assert reached == ["SUMMARY", "agent", "call", "text", "BUTTON"]
        await keys.press("Shift+Tab")
        await keys.press("Shift+Tab")
        await keys.press("Enter")
        await talk.until(lambda: talk.phase == "calling" and len(talk.lines) > 1)  # its microphone beeps each second
        await keys.press("Tab")
        await keys.press("Space")
        assert await talk.page.get_attribute("#mute", "aria-pressed") == "true"
        await keys.press("Shift+Tab")
        await keys.press("Enter")
        await talk.until(lambda: talk.phase == "over")
        assert talk.notice == "The call has ended."
        assert talk.troubles == []


async def test_a_call_that_is_being_opened_can_be_hung_up(home: Platform, chromium: Browser) -> None:
    async with chromium.visit(home.page, "echo") as talk:
        await talk.page.evaluate("for (const press of [1, 2]) document.getElementById('call').click()")
        await talk.until(lambda: talk.phase == "over")
        assert talk.notice == "The call has ended."
        assert talk.troubles == []


async def test_it_fits_a_phone(home: Platform, chromium: Browser) -> None:
    async with chromium.visit(home.page, "echo", microphone=False, viewport=PHONE) as talk:
        await talk.picture("phone-idle")
        await talk.page.fill("#text", "May I park here?")
        await talk.page.press("#text", "Enter")
        await talk.until(lambda: talk.state == "listening" and len(talk.lines) == 2 and bool(talk.lines[1]["waited"]))
        await talk.page.click(".falls summary")
        await talk.picture("phone")
        assert await talk.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


async def test_a_long_name_is_shown_whole_on_a_phone(home: Platform, chromium: Browser) -> None:
    async with chromium.visit(home.page, LONG_NAME.id, viewport=PHONE) as talk:
        await talk.start()
        await talk.until(lambda: talk.phase == "calling")
        name = talk.page.locator("#lane-agent")
        assert await name.text_content() == LONG_NAME.id
        assert await name.evaluate("(name) => name.scrollWidth <= name.clientWidth"), "it is cut off"
        await talk.picture("phone-long-name")
        assert await talk.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


async def test_an_agent_is_shown_by_its_name(home: Platform, chromium: Browser) -> None:
    async def name_the_agent(route: Any) -> None:
        answer = await route.fetch()
        listed = await answer.json()
        listed["details"]["echo"] = {"name": "Northside Clinic", "description": "Books appointments."}
        await route.fulfill(response=answer, json=listed)

    async with chromium.visit(home.page, microphone=False) as talk:
        await talk.page.route("**/v1/agents", name_the_agent)
        await talk.page.goto(f"{home.page}?agent=echo")
        await talk.page.wait_for_selector("#agent:not([disabled])")
        assert await talk.page.locator("#agent option:checked").text_content() == "Northside Clinic"
        assert await talk.page.text_content("#description") == "Books appointments."
        await talk.picture("named")
        await talk.page.fill("#text", "hello")
        await talk.page.press("#text", "Enter")
        await talk.until(lambda: len(talk.lines) == 2)
        assert await talk.page.text_content("#lane-agent") == "Northside Clinic"
        assert await talk.page.text_content(".line.agent .by") == "Northside Clinic"
        await talk.page.click("#call")


async def test_sound_looks_and_works_like_a_button(home: Platform, chromium: Browser) -> None:
    async with chromium.visit(home.page, "echo", microphone=False, viewport=PHONE) as talk:
        button = talk.page.locator("#settings summary")
        style = await button.evaluate("(it) => ({ ...getComputedStyle(it) })")
        assert style["borderTopStyle"] == "solid"
        assert style["backgroundColor"] != "rgba(0, 0, 0, 0)"
        box = await button.bounding_box()
        assert box
        assert box["height"] >= TOUCH_PX
        assert box["x"] + box["width"] <= PHONE["width"]
        await button.click()
        assert await talk.page.is_visible("#microphone")
        await talk.picture("phone-sound")


async def test_latencies_explain_themselves(home: Platform, tmp_path: Path, transport: str) -> None:
    async with (
        browser(wav(tmp_path / "silence.wav", silence(60))) as quiet,
        quiet.visit(home.page, LONG_NAME.id, transport) as talk,
    ):
        await talk.start()
        await talk.until(lambda: talk.state == "listening" and len(talk.lines) == 1 and bool(talk.lines[0]["waited"]))
        session = home.events.sessions[-1]
        [opened] = home.events.of(session, events.SessionOpened)
        [plays] = home.events.of(session, events.PlaybackStarted)
        waited_ms = (plays.time - opened.started_us) / 1000
        assert abs(int(talk.lines[0]["waited"].removesuffix(" ms")) - waited_ms) <= ROUNDING_MS
        await talk.page.fill("#text", "May I park here?")
        await talk.page.press("#text", "Enter")
        await talk.until(lambda: talk.state == "listening" and len(talk.lines) == 3 and bool(talk.lines[2]["waited"]))
        latencies = talk.page.locator(".falls")
        for index in (0, 1):
            await latencies.nth(index).locator("summary").click()
        greeted, answered = [await latencies.nth(index).inner_text() for index in (0, 1)]
        assert "Greeted in" in greeted
        assert "From when the call was connected until the agent spoke" in greeted
        assert "Answered in" in answered
        assert "From when your text arrived until the agent spoke" in answered
        assert "Starting the sound" in answered
        await talk.picture(f"latency-{transport}")
        await talk.page.click("#call")


async def test_a_server_that_goes_away_is_told_in_words(home: Platform, chromium: Browser) -> None:
    async with chromium.visit(home.page, "echo", "websocket") as talk:
        await talk.page.context.set_offline(True)
        await talk.start()
        await talk.until(lambda: "cannot be reached" in talk.notice)
        await talk.picture("error")
        await talk.page.context.set_offline(False)
        await talk.start()
        await talk.until(lambda: talk.phase == "calling" and talk.state in STATES)
        session = home.events.sessions[-1]
        await talk.page.close()
        closed = await home.events.until(session, events.SessionClosed)
        assert closed.reason == "hangup"


async def test_a_call_ends_when_the_button_says_so(home: Platform, chromium: Browser, transport: str) -> None:
    async with chromium.visit(home.page, "echo", transport) as talk:
        await talk.start()
        await talk.until(lambda: talk.phase == "calling" and talk.state in STATES)
        session = home.events.sessions[-1]
        async with talk.page.expect_response(lambda answer: answer.request.method == "DELETE") as asked:
            await talk.page.click("#call")
        assert (await asked.value).status == 204  # so nobody waits in the room for who left it
        assert (await home.events.until(session, events.SessionClosed)).reason == "hangup"
        await talk.until(lambda: talk.notice == "The call has ended.")
        assert talk.troubles == []
        assert talk.logged == []


async def test_a_reload_ends_the_session_at_once(home: Platform, chromium: Browser, transport: str) -> None:
    async with chromium.visit(home.page, "echo", transport) as talk:
        await talk.start()
        await talk.until(lambda: talk.phase == "calling" and talk.state in STATES)
        session = home.events.sessions[-1]
        await talk.page.reload()
        closed = await home.events.until(session, events.SessionClosed, within_s=RELOAD_ENDS_WITHIN_S)
        assert closed.reason == "hangup"


async def test_a_reload_while_the_call_is_being_opened_hangs_up(home: Platform, chromium: Browser) -> None:
    if why_no_rooms():
        pytest.skip(why_no_rooms())
    async with chromium.visit(home.page, "echo", "livekit") as talk:
        await talk.page.route_web_socket("**/rtc/**", lambda _socket: None)  # LiveKit never answers
        async with talk.page.expect_response(lambda answer: answer.request.method == "POST"):
            await talk.start()
        await talk.until(lambda: talk.state == "connecting")
        await talk.page.evaluate(NOTE_HANG_UP)
        await talk.page.reload()
        assert await talk.page.evaluate("localStorage.hungUp") == "yes"


# Playwright reports no request of a page that is being left.
NOTE_HANG_UP = """() => {
  const send = window.fetch
  window.fetch = (path, options) => {
    if (options?.method === 'DELETE') localStorage.hungUp = 'yes'
    return send(path, options)
  }
}"""


async def test_who_comes_too_late_for_a_room_is_told_so(home: Platform, chromium: Browser) -> None:
    if why_no_rooms():
        pytest.skip(why_no_rooms())
    from livekit import api

    async def wait_for_hours(route: Any) -> None:
        answer = await route.fetch()
        told = await answer.json()
        keys = RoomServer.keys(home.data)
        late = api.AccessToken(keys["key"], keys["secret"]).with_identity("caller").with_ttl(timedelta(hours=-1))
        told["token"] = late.with_grants(api.VideoGrants(room_join=True, room=told["room"])).to_jwt()
        await route.fulfill(response=answer, json=told)

    async with chromium.visit(home.page, "echo", "livekit") as talk:
        await talk.page.route("**/v1/sessions", wait_for_hours)
        await talk.start()
        await talk.until(lambda: "cannot be entered any more" in talk.notice)
        assert talk.phase == "idle"


# --- callers with LiveKit's own client --------------------------------------------------------------------------------

RECORDS_FIRST = """async ([url, token, connects_after_ms]) => {
  await import('./bundle/livekit-client.js')
  const room = window.room = new LivekitClient.Room({ publishDefaults: { preConnectBuffer: true } })
  const microphone = room.localParticipant.setMicrophoneEnabled(true)
  await new Promise((enough) => setTimeout(enough, connects_after_ms))
  await Promise.all([room.connect(url, token), microphone])
}"""


@pytest.mark.local
async def test_what_is_said_before_the_room_is_entered_is_answered(home: Platform, tmp_path: Path) -> None:
    why_not = why_no_models() or why_no_rooms()
    if why_not:
        pytest.skip(why_not)
    from livekit import api

    keys = RoomServer.keys(home.data)
    token = api.AccessToken(keys["key"], keys["secret"]).with_identity("caller")
    token = token.with_grants(api.VideoGrants(room_join=True, room="early"))
    [question] = [read_pcm(path) for path in await speak(QUESTIONS[:1], weights_folder() / "caller")]
    asked = silence(0.5) + question
    all_said_ms = len(asked) * 1000 // (CALLER_HZ * SAMPLE_BYTES) + 500
    known = set(home.events.sessions)
    async with (
        browser(wav(tmp_path / "early.wav", asked + silence(60))) as chromium,
        chromium.visit(home.page) as talk,
    ):
        await talk.page.evaluate(RECORDS_FIRST, [home.livekit, token.to_jwt(), all_said_ms])
        await until(lambda: len(set(home.events.sessions) - known) == 1, HEARD_WITHIN_S)
        [session] = set(home.events.sessions) - known
        said = await home.events.until(session, events.TranscriptFinal, within_s=HEARD_WITHIN_S)
        assert word_error_rate(QUESTIONS[0], said.text) <= WRONG, said.text
        await home.events.until(session, events.TurnEnded, 2, HEARD_WITHIN_S)  # the first is the greeting
        spoken = " ".join(event.text for event in home.events.of(session, events.SentenceReady))
        assert "free parking" in spoken
        await talk.page.evaluate("room.disconnect()")
