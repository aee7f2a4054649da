"""A worker of LiveKit Agents 1.8.9 whose providers are scripted as in `bench.load`: `bench.room_peer` measures it.

It runs in an environment of its own (`make peer`) and imports nothing of the product. Its last argument is JSON: url,
key and secret of livekit-server, turn_taking, and what the script takes. With turn taking everything is LiveKit's
default: its voice activity, its turn detector, its pauses; without, each final is a turn at once.
"""
# mypy: ignore-errors

import asyncio
import json
import logging
import sys

import numpy as np
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, Agent, AgentServer, AgentSession, JobContext, llm, stt, tts

ASKED = json.loads(sys.argv[-1])
AGENT_HZ, CALLER_HZ = 24_000, 16_000
AT_ONCE = {"turn_detection": "stt", "endpointing": {"min_delay": 0.0, "max_delay": 0.0}}
HUM_HZ, HUM_PEAK = 220, 8_000


class Recogniser(stt.STT):
    """The final follows the first silent frame after speech."""

    def __init__(self):
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=False))

    async def _recognize_impl(self, buffer, *, language, conn_options):
        raise NotImplementedError

    def stream(self, *, language=None, conn_options=DEFAULT_API_CONNECT_OPTIONS):
        return Recognised(stt=self, conn_options=conn_options, sample_rate=CALLER_HZ)


class Recognised(stt.RecognizeStream):
    async def _run(self):
        speaks = False
        async for frame in self._input_ch:
            if isinstance(frame, self._FlushSentinel):
                continue
            loud = int(np.abs(np.frombuffer(frame.data, np.int16).astype(np.int32)).max()) > ASKED["loud"]
            if loud and not speaks:
                self._tell(stt.SpeechEventType.START_OF_SPEECH)
            elif speaks and not loud:
                asyncio.get_running_loop().call_later(ASKED["final_ms"] / 1000, self._final)
            speaks = loud

    def _final(self):
        words = stt.SpeechData(language="en", text="a question", confidence=1.0)
        self._tell(stt.SpeechEventType.FINAL_TRANSCRIPT, words)
        self._tell(stt.SpeechEventType.END_OF_SPEECH)

    def _tell(self, what, *words):
        self._event_ch.send_nowait(stt.SpeechEvent(type=what, alternatives=list(words)))


class Model(llm.LLM):
    def chat(self, *, chat_ctx, tools=None, conn_options=DEFAULT_API_CONNECT_OPTIONS, **_):
        return Answer(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class Answer(llm.LLMStream):
    async def _run(self):
        wait_ms = ASKED["first_token_ms"]
        for word in ASKED["reply"].split(" "):
            await asyncio.sleep(wait_ms / 1000)
            delta = llm.ChoiceDelta(role="assistant", content=word + " ")
            self._event_ch.send_nowait(llm.ChatChunk(id="reply", delta=delta))
            wait_ms = ASKED["token_ms"]


class Voice(tts.TTS):
    """Sound begins after the first text of a reply; how long it is does not depend on the text."""

    def __init__(self):
        super().__init__(capabilities=tts.TTSCapabilities(streaming=True), sample_rate=AGENT_HZ, num_channels=1)

    def synthesize(self, text, *, conn_options=DEFAULT_API_CONNECT_OPTIONS):
        raise NotImplementedError

    def stream(self, *, conn_options=DEFAULT_API_CONNECT_OPTIONS):
        return Sound(tts=self, conn_options=conn_options)


class Sound(tts.SynthesizeStream):
    async def _run(self, output_emitter):
        output_emitter.initialize(
            request_id="reply", sample_rate=AGENT_HZ, num_channels=1, mime_type="audio/pcm", stream=True
        )
        texts = self._input_ch.__aiter__()
        async for text in texts:
            if not isinstance(text, self._FlushSentinel):
                break
        else:
            return
        self._mark_started()
        output_emitter.start_segment(segment_id="reply")
        await self._hum(output_emitter)
        async for _ in texts:
            pass
        output_emitter.end_segment()

    async def _hum(self, output_emitter):
        time_s = np.arange(AGENT_HZ * ASKED["chunk_ms"] // 1000) / AGENT_HZ
        chunk = (HUM_PEAK * np.sin(2 * np.pi * HUM_HZ * time_s)).astype("<i2").tobytes()
        wait_ms = ASKED["first_audio_ms"]
        for _ in range(ASKED["answer_ms"] // ASKED["chunk_ms"]):
            await asyncio.sleep(wait_ms / 1000)
            output_emitter.push(chunk)
            wait_ms = ASKED["chunk_every_ms"]


server = AgentServer(
    ws_url=ASKED["url"],
    api_key=ASKED["key"],
    api_secret=ASKED["secret"],
    host="127.0.0.1",
    port=0,
    load_fnc=lambda: 0.0,  # the benchmark decides the number of rooms
)


@server.rtc_session()
async def answer(job: JobContext) -> None:
    providers = {"stt": Recogniser(), "llm": Model(), "tts": Voice()}
    taking = {} if ASKED["turn_taking"] else {"vad": None, "turn_handling": AT_ONCE}
    await AgentSession(**providers, **taking).start(agent=Agent(instructions="Answer."), room=job.room)


async def work() -> None:
    """Print `ready` once it accepts rooms, and run until standard input closes."""
    registered = asyncio.Event()
    server.on("worker_registered", lambda *_: registered.set())
    running = asyncio.create_task(server.run())
    await registered.wait()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await server.aclose()
    await running


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    asyncio.run(work())
