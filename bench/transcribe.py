"""Measure the local recognizer: word errors, lateness, calls at once, and noise.

Two recordings of human speech at the pace of a call; with `--calls 8` eight calls of the first at once; with `--noise`
coughs, clicks and hum: which of them start an utterance, and with which transcript.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import stages.stt.stage
from antiphon_testing.speech import BECKETT, TWO_CITIES, recording, silence
from antiphon_testing.stage import Call, Worker, worker
from antiphon_testing.wer import word_error_rate
from cli.discovery import weights_folder
from schemas.audio import CALLER_FRAME_BYTES, CALLER_HZ, FRAME_MS
from schemas.events import SpeechEnded, SpeechStarted, TranscriptFinal, TranscriptInterim
from stages.runtime.providers import ProviderContext

LOCAL = {"stt": {"provider": "local"}}
STAGGER_S = 1.7  # between two calls: no two of them speak the same words at once


class Listened:
    """The result of one recording. late_ms: finals after their end of speech. onset_ms: starts after their onset."""

    def __init__(self, call: Call, began_s: float) -> None:
        ended = {event.utterance: event.time for event in call.published(SpeechEnded)}
        self.finals = call.published(TranscriptFinal)
        self.text = " ".join(final.text for final in self.finals)
        self.starts = call.published(SpeechStarted)
        self.interims = len(call.published(TranscriptInterim))
        self.late_ms = [(final.time - ended[final.utterance]) / 1000 for final in self.finals]
        self.onset_ms = [(event.time / 1e6 - began_s - event.start_sample / CALLER_HZ) * 1000 for event in self.starts]


async def listen(running: Worker, pcm: bytes, session: str = "s1", delay_s: float = 0.0) -> Listened:
    """Yield `pcm` at real-time pace: a frame comes when its last sample has been spoken."""
    await asyncio.sleep(delay_s)
    loop = asyncio.get_running_loop()
    async with running.call(LOCAL, session=session) as call:
        began, began_s = loop.time(), time.time()
        for number, sent in enumerate(range(0, len(pcm), CALLER_FRAME_BYTES), 1):
            await asyncio.sleep(began + number * FRAME_MS / 1000 - loop.time())
            call.hear_audio(pcm[sent : sent + CALLER_FRAME_BYTES], at=sent // 2)
    return Listened(call, began_s)


def spread(values: list[float]) -> str:
    ordered = sorted(values)
    p50, p95 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.95))
    return f"p50 {p50:4.0f}  p95 {p95:4.0f}  worst {ordered[-1]:4.0f} ms"


async def words(running: Worker) -> None:
    for name, said in (("two_cities", TWO_CITIES), ("beckett", BECKETT)):
        heard = await listen(running, recording(name) + silence(1.5))
        print(f"\n{name}: {word_error_rate(said, heard.text):.1%} of the words wrong; {heard.interims} interims")
        print(f"  onset -> speech_started     {spread(heard.onset_ms)}")
        print(f"  speech_ended -> final       {spread(heard.late_ms)}")
        print(f"  {heard.text}")


async def crowd(running: Worker, calls: int) -> None:
    pcm = recording("two_cities") + silence(1.5)
    used = time.process_time()
    began = time.monotonic()
    listening = [listen(running, pcm, f"s{number}", number * STAGGER_S) for number in range(calls)]
    all_heard = await asyncio.gather(*listening)
    cores = (time.process_time() - used) / (time.monotonic() - began)
    wrong = [word_error_rate(TWO_CITIES, heard.text) for heard in all_heard]
    print(f"\n{calls} calls at once: {cores:.2f} cores, {min(wrong):.1%} to {max(wrong):.1%} of the words wrong")
    print(f"  onset -> speech_started     {spread([ms for heard in all_heard for ms in heard.onset_ms])}")
    print(f"  speech_ended -> final       {spread([ms for heard in all_heard for ms in heard.late_ms])}")
    print(f"  interims per call           {sum(heard.interims for heard in all_heard) / calls:.0f}")


def noises() -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Return sounds without words, at full scale 1.0."""
    random = np.random.default_rng(1)
    breath = random.standard_normal(CALLER_HZ // 5)
    fading = np.exp(-np.arange(breath.size) / (CALLER_HZ * 0.06))
    softened = np.convolve(breath, np.hanning(24), "same")
    yield "cough: 200 ms of white noise", 0.2 * breath
    yield "cough: 200 ms, muffled and fading", 0.3 * softened / softened.std() * fading
    yield "white noise, 1 s at -30 dBFS", 10 ** (-30 / 20) * random.standard_normal(CALLER_HZ)
    yield "white noise, 1 s at -12 dBFS", 10 ** (-12 / 20) * random.standard_normal(CALLER_HZ)
    keys = np.zeros(2 * CALLER_HZ)
    for start in random.integers(0, keys.size - 160, 14):
        keys[start : start + 160] += 0.3 * random.standard_normal(160) * np.exp(-np.arange(160) / 40)
    yield "keyboard, 14 clicks in 2 s", keys
    yield "hum, 1 s of 120 Hz", 0.2 * np.sin(2 * np.pi * 120 * np.arange(CALLER_HZ) / CALLER_HZ)
    speech = np.frombuffer(recording("two_cities"), "<i2") / 32_768
    for ms in (60, 100, 200):
        piece = speech[4 * CALLER_HZ :][: CALLER_HZ * ms // 1000]
        yield f"{ms} ms torn out of a word", piece


async def noise(running: Worker) -> None:
    for name, sound in noises():
        pcm = (np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes()
        heard = await listen(running, silence(0.6) + pcm + silence(1.0))
        print(f"{name:36s} {len(heard.starts)} utterances, words: {[final.text for final in heard.finals]}")


async def main(asked: argparse.Namespace) -> None:
    async with worker(stages.stt.stage, ProviderContext(weights=weights_folder())) as running:
        async with running.call(LOCAL):
            pass  # the models load
        if asked.noise:
            await noise(running)
        elif asked.calls > 1:
            await crowd(running, asked.calls)
        else:
            await words(running)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1)
    parser.add_argument("--noise", action="store_true")
    asyncio.run(main(parser.parse_args()))
