"""Silero and Moonshine tiny on this machine's processor: no key, no network. English only."""

import asyncio
import ctypes
import math
import os
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

import moonshine_voice
import numpy as np
from moonshine_voice.errors import MoonshineError, check_error
from moonshine_voice.moonshine_api import TranscriptC
from moonshine_voice.transcriber import Transcriber
from pydantic import BaseModel, ConfigDict

from schemas.audio import CALLER_HZ
from stages.runtime.providers import Hear, ProviderContext, ProviderError, ProviderMissing, parse_options
from stages.stt.segmenting_recognizer import SegmentingRecognizer
from stages.stt.silero import FULL_SCALE, Detector, load
from stages.stt.transcription_scheduler import TranscriptionScheduler

CAPACITY = 8  # calls on 2 cores: callers talk half the time, and of four who never pause 95 % of finals take < 0.3 s
LISTEN_NICE = 2  # before the engines, since the agent must fall silent when the caller speaks; behind all pacing
READ_NICE = 10
RECENT = 200  # finals whose lateness tells how late the next may be
FINAL_WITHIN_MS = 400  # until there are enough of them


class Options(BaseModel):
    """language: of the one model that the package holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Literal["en"] = "en"


class Moonshine:
    """Moonshine tiny.en. Not for two threads at once."""

    def __init__(self) -> None:
        # Single-threaded it needs half the processor time and, on short stretches, no more of the clock's. The library
        # knows no other switch than the environment of its C side, which this sets without touching Python's.
        os.putenv("MOONSHINE_ORT_SINGLE_THREAD", "1")
        model = Path(moonshine_voice.__file__).parent / "assets" / "tiny-en"
        try:
            # Stretches come cut: threshold 0 turns the library's own voice activity off. Audio is not handed back.
            options = {"vad_threshold": "0", "return_audio_data": "false"}
            self._transcriber = Transcriber(model, moonshine_voice.ModelArch.TINY, options=options)
        except MoonshineError as error:
            raise ProviderMissing(f"moonshine-voice does not load: {error}: pip install -e '.[local]'") from error
        self.transcribe(bytes(CALLER_HZ))  # the first run is the slowest

    def transcribe(self, pcm: bytes) -> str:
        """The words in PCM16 at 16 kHz."""
        samples = np.frombuffer(pcm, "<i2") / FULL_SCALE
        lines = ctypes.POINTER(TranscriptC)()
        try:
            # Its Python wrapper would take a list of floats and hold the interpreter for 10 ms while it copies that.
            error = self._transcriber._lib.moonshine_transcribe_without_streaming(
                self._transcriber._handle,
                samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
                len(samples),
                CALLER_HZ,
                0,
                ctypes.byref(lines),
            )
            check_error(error)
            return " ".join(line.text for line in self._transcriber._parse_transcript(lines).lines)
        except MoonshineError as error:
            raise ProviderError("server", f"moonshine: {type(error).__name__}") from None

    def close(self) -> None:
        self._transcriber.close()


class Local:
    """The provider: both models, a thread for each, and every caller's ear."""

    capacity = CAPACITY

    def __init__(self, detector: Detector, desk: TranscriptionScheduler) -> None:
        self._detector = detector
        self._desk = desk
        self._ears: set[SegmentingRecognizer] = set()
        self._failure: ProviderError | None = None
        self._late_s: deque[float] = deque(maxlen=RECENT)

    @asynccontextmanager
    async def open(self, options: dict[str, Any], hear: Hear) -> AsyncIterator[SegmentingRecognizer]:
        parse_options(Options, options)
        if self._failure is not None:
            raise self._failure
        ear = SegmentingRecognizer(hear, self._detector, self._desk, self.final_within_ms, self._late_s.append)
        self._ears.add(ear)
        try:
            yield ear
        finally:
            self._ears.discard(ear)
            ear.close()

    def final_within_ms(self) -> int:
        """The 99th percentile of how late the last finals were."""
        if len(self._late_s) < RECENT // 4:
            return FINAL_WITHIN_MS
        worst = sorted(self._late_s)[math.ceil(len(self._late_s) * 0.99) - 1]
        return math.ceil(worst * 1000)

    @contextmanager
    def working(self, *tasks: "asyncio.Task[None]") -> Iterator[None]:
        """While `tasks` do the work of all ears; one that fails takes all calls with it, loudly."""
        for task in tasks:
            task.add_done_callback(self._stopped)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    def _stopped(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            return
        self._failure = ProviderError("server", f"the local recogniser stopped: {type(task.exception()).__name__}")
        for ear in self._ears:
            ear.fail(self._failure)


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[Local]:
    loop = asyncio.get_running_loop()
    with _thread("voice-activity", LISTEN_NICE) as listening, _thread("recogniser", READ_NICE) as reading:
        silero = await loop.run_in_executor(listening, load, context.weights)
        moonshine = await loop.run_in_executor(reading, Moonshine)
        detector, desk = Detector(silero, listening), TranscriptionScheduler(moonshine.transcribe, reading)
        provider = Local(detector, desk)
        with provider.working(loop.create_task(detector.work()), loop.create_task(desk.work())):
            yield provider
        await loop.run_in_executor(reading, moonshine.close)  # behind a transcription that still runs


@contextmanager
def _thread(name: str, nice: int) -> Iterator[ThreadPoolExecutor]:
    """One thread that yields the processor to whoever paces audio. Its own children inherit that."""

    def be_nice() -> None:
        if sys.platform == "linux":  # elsewhere niceness belongs to the whole process
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)

    with ThreadPoolExecutor(1, name, be_nice) as executor:
        yield executor
