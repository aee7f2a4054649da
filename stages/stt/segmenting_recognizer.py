"""Hears one caller with a recogniser that only reads stretches of audio: voice activity cuts, the recogniser reads.

An utterance is the speech between two silences. Its final text is begun already in the pause, before that is long
enough to be an end; if the caller goes on, the work is thrown away, or kept as the text of a settled stretch that was
long enough to be read alone. A monologue without pauses is settled at its quietest points. A short utterance is read
together with those just before it. Interims are guesses of the open stretch, as often as the recogniser keeps up.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from schemas.audio import CALLER_HZ, samples_to_ms
from schemas.events import SpeechEnded, SpeechStarted, TranscriptFinal, TranscriptInterim
from stages.runtime.providers import Hear, ProviderError
from stages.stt.audio_buffer import LONGEST_GAP, AudioBuffer, quietest
from stages.stt.postprocess import spoken
from stages.stt.silero import WINDOW_BYTES, Detector, Memory
from stages.stt.transcription_scheduler import Job, TranscriptionScheduler
from stages.stt.utterance import INTERIM_EVERY, Said, Utterance
from stages.stt.voice_activity import WINDOW, Offset, Onset, VoiceActivity

PREFIX = CALLER_HZ * 300 // 1000  # audio before the onset that is read too: of 100 to 500 ms, the fewest wrong words
PAUSE = 4 * WINDOW  # silence after which the final is begun: half of what ends an utterance
LONG_STRETCH = 5 * CALLER_HZ  # read well alone, so a pause after it settles it
LONGEST_STRETCH = 8 * CALLER_HZ  # takes a third of a second to read, and a final may have to wait for one
SEEK = 4 * CALLER_HZ  # how far back a quiet point is looked for
SHORT = 2 * CALLER_HZ + CALLER_HZ // 2  # a stretch that is read better behind others
NEAR = CALLER_HZ * 3 // 2  # a longer pause before it begins another thought
CONTEXT = 5 * CALLER_HZ  # how far before it these may begin: what more of it would cost is heard as a late answer
INTERIM_BACK_OFF = 3  # an interim that takes a second is followed by 3 s without: finals and other callers come first
FINISH_S = 0.9  # the stage waits for 1 s
MOST_BEHIND = 20 * CALLER_HZ  # of a detector that will never catch up; a gap of the line makes half of it

Report = Callable[[float], None]


class SegmentingRecognizer:
    """The Recognizer of one caller.

    final_within_ms: asked at each end of speech. report: told of each final by how many seconds it came after that.
    """

    def __init__(
        self,
        hear: Hear,
        detector: Detector,
        desk: TranscriptionScheduler,
        final_within_ms: Callable[[], int],
        report: Report,
    ) -> None:
        self.memory = Memory()
        self._hear = hear
        self._detector = detector
        self._desk = desk
        self._final_within_ms = final_within_ms
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._tape = AudioBuffer()
        self._activity = VoiceActivity()
        self._read: int | None = None  # the sample that the next window begins with
        self._number = 0
        self._open: Utterance | None = None
        self._ended: list[Utterance] = []  # without their final, oldest first
        self._recent: deque[Said] = deque(maxlen=4)
        self._spent = 0  # sample up to which utterances have taken the audio
        self._moved = asyncio.Event()
        self._failure: ProviderError | None = None
        self._closed = False

    # --- the stage's side ---------------------------------------------------------------------------------------------

    def feed(self, pcm: bytes, at: int) -> None:
        if self._failure is not None:
            raise self._failure
        if self._read is None:
            self._read = self._spent = at
        elif at - self._tape.end > LONGEST_GAP and (offset := self._activity.stop(self._tape.end)):
            self._end(offset)
        self._tape.append(pcm, at)
        if self._tape.end - max(self._read, self._tape.start) > MOST_BEHIND:
            raise ProviderError("server", "the voice detector is 20 s behind: too many calls", retryable=True)
        if self._tape.end - self._read >= WINDOW:
            self._detector.ready(self, urgent=self._activity.wavers)

    async def finish(self) -> None:
        try:
            async with asyncio.timeout(FINISH_S):
                while self._read is not None and self._tape.end - self._read >= WINDOW:
                    await self._move()
                if offset := self._activity.stop(self._tape.end):
                    self._end(offset)
                while self._ended and self._failure is None:
                    await self._move()
        except TimeoutError:
            if offset := self._activity.stop(self._tape.end):
                self._end(offset)
        for utterance in self._ended:  # the recogniser was too slow: what it told so far must do
            self._say_final(utterance, utterance.said)
        self._ended.clear()

    def fail(self, failure: ProviderError) -> None:
        """The next `feed` raises `failure`."""
        self._failure = self._failure or failure
        self._moved.set()

    def close(self) -> None:
        """Say nothing any more and hold nothing."""
        self._closed = True
        self._detector.forget(self)
        self._desk.forget(self)

    async def _move(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    # --- the detector's side ------------------------------------------------------------------------------------------

    def window(self) -> bytes | None:
        assert self._read is not None
        self._read = max(self._read, self._tape.start)
        window = self._tape.cut(self._read, self._read + WINDOW)
        return window if len(window) == WINDOW_BYTES else None

    def heard(self, probability: float) -> None:
        if self._closed:
            return
        assert self._read is not None
        change = self._activity.step(probability, self._read)
        self._read += WINDOW
        match change:
            case Onset():
                self._begin(change)
            case Offset():
                self._end(change)
        if self._open is not None:
            self._follow(self._open, self._read)
        else:
            self._tape.forget(self._read - CONTEXT - PREFIX)
        if self._tape.end - self._read >= WINDOW:
            self._detector.ready(self, urgent=self._activity.wavers)
        self._moved.set()

    # --- an utterance's life ------------------------------------------------------------------------------------------

    def _begin(self, onset: Onset) -> None:
        begin = max(onset.at - PREFIX, self._spent)
        self._open = Utterance(self._number, onset.at, begin)
        self._number += 1
        self._hear(SpeechStarted(utterance=self._open.number, start_sample=onset.at))

    def _follow(self, utterance: Utterance, now: int) -> None:
        silence = self._activity.silence
        if silence >= PAUSE:
            if utterance.guess is None:
                utterance.guess = self._read_stretch(utterance, now, final=True)
                utterance.interim = None  # if it still waits, the guess has replaced it
        elif silence == 0 and utterance.guess is not None:
            self._go_on(utterance, utterance.guess)
        elif now - utterance.begin >= LONGEST_STRETCH:
            self._cut_at_lull(utterance, now)
        elif silence == 0 and utterance.interim is None and now >= utterance.interim_due:  # not just before a final
            utterance.interim = self._read_stretch(utterance, now, final=False)

    def _go_on(self, utterance: Utterance, guess: Job) -> None:
        utterance.guess = None
        if guess.until - guess.start >= LONG_STRETCH:
            self._settle(utterance, guess, guess.until - PAUSE // 2)
        else:
            guess.wanted = False

    def _cut_at_lull(self, utterance: Utterance, now: int) -> None:
        cut = now - SEEK + quietest(self._tape.cut(now - SEEK, now))
        self._settle(utterance, self._read_stretch(utterance, cut, final=True), cut)

    def _settle(self, utterance: Utterance, job: Job, begin: int) -> None:
        utterance.settled.append(job)
        utterance.begin = begin
        self._tape.forget(begin)
        if utterance.interim is not None:
            utterance.interim.wanted = False
            utterance.interim = None

    def _end(self, offset: Offset) -> None:
        utterance, self._open = self._open, None
        assert utterance is not None
        now = offset.at + offset.silence
        last = utterance.guess or self._read_stretch(utterance, now, final=True)
        if utterance.interim is not None:
            utterance.interim.wanted = False
        utterance.settled.append(last)
        utterance.until, utterance.voiced, utterance.ended_s = last.until, offset.voiced, self._loop.time()
        self._spent = last.until
        self._ended.append(utterance)
        self._hear(
            SpeechEnded(
                utterance=utterance.number,
                until_sample=offset.at,
                silence_ms=samples_to_ms(offset.silence_until(self._tape.end), CALLER_HZ),
                final_within_ms=self._final_within_ms(),
            )
        )
        self._say_finals()

    # --- the desk's side ----------------------------------------------------------------------------------------------

    def _read_stretch(self, utterance: Utterance, until: int, *, final: bool) -> Job:
        pcm = self._tape.cut(utterance.begin, until)
        job = Job(self, pcm, utterance.begin, until, final, lambda job: self._told(utterance, job), self._loop.time())
        if final:
            job.context, job.known = self._before(utterance, until)
        self._desk.put(job)
        return job

    def _before(self, utterance: Utterance, until: int) -> tuple[bytes, str]:
        """The audio of a short utterance together with those just before it, and what these said."""
        start, known = utterance.begin, ""
        if self._ended or utterance.settled or until - utterance.begin > SHORT:
            return b"", ""
        for said in reversed(self._recent):
            if not said.text or start - said.until > NEAR or utterance.begin - said.start > CONTEXT:
                break
            start, known = said.start, f"{said.text} {known}"
        return (self._tape.cut(start, until), known) if known else (b"", "")

    def _told(self, utterance: Utterance, job: Job) -> None:
        if self._closed:
            return
        if job.failure is not None:
            self.fail(job.failure)
        elif utterance.ended_s is None and job.wanted:
            self._say_interim(utterance, job)
        if job is utterance.interim:
            took = int((self._loop.time() - job.queued) * CALLER_HZ)
            utterance.interim = None
            utterance.interim_due = job.until + max(INTERIM_EVERY, INTERIM_BACK_OFF * took)
        self._say_finals()
        self._moved.set()

    def _say_interim(self, utterance: Utterance, job: Job) -> None:
        text = spoken(utterance.text("" if job in utterance.settled else job.text or ""), self._activity.voiced)
        if text and text != utterance.said:
            utterance.said = text
            self._hear(
                TranscriptInterim(
                    utterance=utterance.number, text=text, start_sample=utterance.onset, until_sample=job.until
                )
            )

    def _say_finals(self) -> None:
        while self._ended and self._ended[0].ready:
            utterance = self._ended.pop(0)
            assert utterance.ended_s is not None
            self._report(self._loop.time() - utterance.ended_s)
            self._say_final(utterance, utterance.text())

    def _say_final(self, utterance: Utterance, text: str) -> None:
        text = spoken(text, utterance.voiced)
        self._recent.append(Said(utterance.start, utterance.until, text))
        self._hear(
            TranscriptFinal(
                utterance=utterance.number,
                text=text,
                start_sample=utterance.onset,
                until_sample=utterance.until,
            )
        )
