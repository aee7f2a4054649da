"""A recognizer made of a transcriber without streaming: the worker's VAD cuts the audio into stretches.

An utterance is the speech between two silences. Its final text is begun already in the pause, before that is long
enough to be an end. If the caller goes on, the work is thrown away, or kept as the text of a settled stretch that was
long enough to be transcribed alone. A monologue without pauses is settled at its quietest points. A short utterance is
transcribed together with those just before it. Interims are guesses of the open stretch, as often as the transcriber
keeps up.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from schemas.audio import CALLER_HZ
from session.audio_buffer import AudioBuffer
from stages.runtime.providers import ProviderError
from stages.stt.contract import Capabilities, Heard, HeardFinal, HeardInterim, Voice
from stages.stt.heard_queue import HeardQueue
from stages.stt.lull import quietest
from stages.stt.postprocess import filter_hallucinations
from stages.stt.transcription_scheduler import Job, TranscriptionScheduler
from stages.stt.utterance import INTERIM_EVERY, Transcribed, Utterance
from stages.stt.voice_activity import LONGEST_GAP, WINDOW, Offset, Onset

PREFIX = CALLER_HZ * 300 // 1000  # audio before the onset that is transcribed too: of 100 to 500 ms, the fewest errors
PAUSE = 4 * WINDOW  # silence after which the final is begun: half of the silence that ends an utterance
LONG_STRETCH = 5 * CALLER_HZ  # is transcribed well alone, so a pause after it settles it
LONGEST_STRETCH = 8 * CALLER_HZ  # takes a third of a second to transcribe, and a final may have to wait for one
SEEK = 4 * CALLER_HZ  # how far back a quiet point is looked for
SHORT = 2 * CALLER_HZ + CALLER_HZ // 2  # a stretch that is transcribed better behind others
NEAR = CALLER_HZ * 3 // 2  # a longer pause before it begins another thought
CONTEXT = 5 * CALLER_HZ  # how far before it these may begin: more makes the answer late
INTERIM_BACK_OFF = 3  # an interim that takes a second is followed by 3 s without: finals and other callers come first


class SegmentingRecognizer:
    """The Recognizer of one caller, which follows `voice` and puts stretches to `scheduler`. The owner calls `close`.

    Raises ProviderError if the scheduler's transcriber has stopped.
    """

    capabilities = Capabilities(streaming=False, interims=True)

    def __init__(self, scheduler: TranscriptionScheduler, voice: Voice) -> None:
        scheduler.join(self)
        self._scheduler = scheduler
        self._voice = voice
        self._outputs = HeardQueue()
        self._loop = asyncio.get_running_loop()
        self._audio = AudioBuffer(longest_gap=LONGEST_GAP)
        self._open: Utterance | None = None
        self._ended: list[Utterance] = []  # without their final, oldest first
        self._recent: deque[Transcribed] = deque(maxlen=4)
        self._spent: int | None = None  # sample up to which utterances have taken the audio
        self._finishing = False
        voice.follow(self, self._judged)

    # --- the stage's side ---------------------------------------------------------------------------------------------

    def feed(self, pcm: bytes, at_sample: int) -> None:
        if self._spent is None:
            self._spent = at_sample
        self._audio.append(pcm, at_sample)

    def force_end(self) -> None:
        """Do nothing: VAD decides where an utterance ends."""

    async def finish(self) -> None:
        self._finishing = True
        self._publish_finals()

    def heard(self) -> AsyncIterator[Heard]:
        return self._outputs.heard()

    def fail(self, error: ProviderError) -> None:
        """Let `heard` raise `error`."""
        self._outputs.fail(error)

    def close(self) -> None:
        """Publish no output any more and put no job."""
        self._outputs.end()
        self._scheduler.forget(self)

    # --- the side of VAD ----------------------------------------------------------------------------------------------

    def speech_started(self, onset: Onset) -> None:
        self._open = Utterance(onset.at, max(onset.at - PREFIX, self._spent or 0))

    def speech_ended(self, offset: Offset) -> None:
        utterance, self._open = self._open, None
        assert utterance is not None, "VAD ends speech that it began"
        last = utterance.guess or self._transcribe(utterance, offset.at + offset.silence, final=True)
        if utterance.interim is not None:
            utterance.interim.wanted = False
        utterance.settled.append(last)
        utterance.until, utterance.voiced, utterance.ended = last.until, offset.voiced, True
        self._spent = last.until
        self._ended.append(utterance)
        self._publish_finals()

    def _judged(self, until: int) -> None:
        """Move on to sample `until`, which VAD has judged."""
        if self._open is not None:
            self._follow(self._open, until)
        else:
            self._audio.forget(until - CONTEXT - PREFIX)

    # --- an utterance's life ------------------------------------------------------------------------------------------

    def _follow(self, utterance: Utterance, now: int) -> None:
        silence = self._voice.silence
        if silence >= PAUSE:
            if utterance.guess is None:
                utterance.guess = self._transcribe(utterance, now, final=True)
                utterance.interim = None  # if it still waits, the guess has replaced it
        elif silence == 0 and utterance.guess is not None:
            self._go_on(utterance, utterance.guess)
        elif now - utterance.begin >= LONGEST_STRETCH:
            self._cut_at_lull(utterance, now)
        elif silence == 0 and utterance.interim is None and now >= utterance.interim_due:  # not just before a final
            utterance.interim = self._transcribe(utterance, now, final=False)

    def _go_on(self, utterance: Utterance, guess: Job) -> None:
        utterance.guess = None
        if guess.until - guess.start >= LONG_STRETCH:
            self._settle(utterance, guess, guess.until - PAUSE // 2)
        else:
            guess.wanted = False

    def _cut_at_lull(self, utterance: Utterance, now: int) -> None:
        cut = now - SEEK + quietest(self._audio.cut(now - SEEK, now))
        self._settle(utterance, self._transcribe(utterance, cut, final=True), cut)

    def _settle(self, utterance: Utterance, job: Job, begin: int) -> None:
        utterance.settled.append(job)
        utterance.begin = begin
        self._audio.forget(begin)
        if utterance.interim is not None:
            utterance.interim.wanted = False
            utterance.interim = None

    # --- the scheduler's side -----------------------------------------------------------------------------------------

    def _transcribe(self, utterance: Utterance, until: int, *, final: bool) -> Job:
        pcm = self._audio.cut(utterance.begin, until)
        job = Job(self, pcm, utterance.begin, until, final, lambda job: self._done(utterance, job), self._loop.time())
        if final:
            job.context, job.known = self._context_of(utterance, until)
        self._scheduler.put(job)
        return job

    def _context_of(self, utterance: Utterance, until: int) -> tuple[bytes, str]:
        """Return the audio of a short utterance together with those just before it, and the text of these."""
        start, known = utterance.begin, ""
        if self._ended or utterance.settled or until - utterance.begin > SHORT:
            return b"", ""
        for earlier in reversed(self._recent):
            if not earlier.text or start - earlier.until > NEAR or utterance.begin - earlier.start > CONTEXT:
                break
            start, known = earlier.start, f"{earlier.text} {known}"
        return (self._audio.cut(start, until), known) if known else (b"", "")

    def _done(self, utterance: Utterance, job: Job) -> None:
        if self._outputs.ended:
            return
        if job.failure is not None:
            self.fail(job.failure)
        elif not utterance.ended and job.wanted:
            self._publish_interim(utterance, job)
        if job is utterance.interim:
            took = int((self._loop.time() - job.queued) * CALLER_HZ)
            utterance.interim = None
            utterance.interim_due = job.until + max(INTERIM_EVERY, INTERIM_BACK_OFF * took)
        self._publish_finals()

    def _publish_interim(self, utterance: Utterance, job: Job) -> None:
        text = utterance.text("" if job in utterance.settled else job.text or "")
        text = filter_hallucinations(text, self._voice.voiced)
        if text and text != utterance.interim_text:
            utterance.interim_text = text
            self._outputs.put(HeardInterim(text, utterance.onset, job.until))

    def _publish_finals(self) -> None:
        while self._ended and self._ended[0].ready:
            utterance = self._ended.pop(0)
            text = filter_hallucinations(utterance.text(), utterance.voiced)
            self._recent.append(Transcribed(utterance.start, utterance.until, text))
            self._outputs.put(HeardFinal(text, utterance.onset, utterance.until))
        if self._finishing and not self._ended:
            self._outputs.end()
