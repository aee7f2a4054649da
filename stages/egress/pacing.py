"""When each 20 ms of the answer goes out, and how much of it the caller has heard.

The caller's player and this clock agree without talking. The player starts its clock at the first frame it gets after
silence, plays frames back to back, and on `clear` finishes the frame it is in and drops the rest. So the grid of frames
is known here from the moment of the first send, and a clear that leaves in the *middle* of a frame of that grid finds
the player in that same frame as long as the transit of the two differs by less than half a frame. What the player then
drops is put back and is the first to be sent when the hold lifts: nothing is repeated and nothing is skipped, and the
position that `paused` tells is final.

A hold is never lifted by a decision about an earlier utterance. A turn plays only once `turn_started` was heard; what
comes before is kept. Every turn that started or had audio ends exactly once.

All methods take the time in milliseconds of one monotonic clock. Inputs only change the state; `advance` returns what
is to be done now, in order: pieces to play, CLEAR, and events to say.
"""

from collections import deque
from typing import Final, Literal

from schemas.audio import FRAME_MS
from schemas.control import Playhead
from schemas.events import Event, Paused, PlaybackEnded, PlaybackStarted, Resumed
from stages.egress.reply import Piece, Reply

LEAD_MS = 100  # ahead of the play clock: enough to bridge a busy event loop, little enough to be cleared
DECIDE_WITHIN_MS = 3_000  # after the caller fell silent; longer, and a lost decision would mute the agent
MAX_WAITING_MS = 6_000  # tts stays 5 s ahead, and a second more bridges what it cannot know yet
CLEAR_SLACK_MS = 2  # from the middle of a frame: the precision of an event loop's timer

CLEAR: Final = "clear"

ResumeReason = Literal["decided", "timeout"]
_MIDDLE_MS = FRAME_MS / 2
_MAX_WAITING = MAX_WAITING_MS // FRAME_MS

Action = Piece | Event | Literal["clear"]


class Pacing:
    """The agent's line of one call."""

    def __init__(self) -> None:
        self.underruns = 0  # the player ran dry in the middle of a turn
        self._replies: dict[int, Reply] = {}  # turns that started or have audio, and have not ended
        self._started = 0  # the newest turn that may play
        self._floor = 1  # turns below are over
        self._line: deque[Piece] = deque()  # sent, and by the clock not yet heard to its end
        self._line_from = 0.0  # when the first of `_line` starts to sound; when it is empty, when the last one ended
        self._held: int | None = None  # the newest utterance that nobody decided about
        self._decided = -1  # the newest utterance that somebody did
        self._decide_by: float | None = None
        self._stopping = False  # the line is to be cleared in the middle of a frame
        self._pauses: list[int] = []  # utterances to be answered with `paused` as soon as the position is final
        self._resumes: tuple[int, ResumeReason] | None = None

    # --- what happens -------------------------------------------------------------------------------------------

    def hear_audio(self, pcm: bytes, turn: int, segment: int, flags: int) -> bool:
        """A chunk of the answer; False if it was refused, because its turn is over or too much waits already."""
        if turn < self._floor:
            return False
        reply = self._reply(turn)
        if reply.complete or (pcm and len(reply.waiting) >= _MAX_WAITING):
            return False
        reply.add(pcm, segment, flags)
        return True

    def start(self, turn: int, answers: int) -> None:
        """`turn` takes the floor: all below end, and holds for utterances <= `answers` lift."""
        self.cancel(turn - 1)
        if turn >= self._floor:
            self._started = max(turn, self._started)
            self._reply(turn)
        self._decide(answers)

    def cancel(self, turn: int) -> None:
        """No more of `turn`, or of any before it, may be heard."""
        self._floor = max(turn + 1, self._floor)
        if self._line and self._line[0].turn < self._floor:
            self._stopping = True

    def hold(self, utterance: int) -> None:
        """The caller began to speak: silence, also if nothing sounds yet."""
        if utterance <= self._decided:
            return
        self._held = utterance
        self._decide_by = None
        self._resumes = None
        self._pauses.append(utterance)
        self._stopping = bool(self._line)

    def fell_silent(self, utterance: int, now_ms: float) -> None:
        """The caller stopped speaking: the decision is awaited from now on, but not for ever."""
        if self._held is not None and utterance >= self._held:
            self._decide_by = now_ms + DECIDE_WITHIN_MS

    def resume(self, utterance: int, reason: ResumeReason = "decided") -> None:
        """What the caller did was no turn: holds for utterances <= `utterance` lift and the answer goes on."""
        if self._decide(utterance):
            self._resumes = (utterance, reason)

    # --- what is to be done -------------------------------------------------------------------------------------

    def advance(self, now_ms: float) -> list[Action]:
        """All that is due at `now_ms`, in order."""
        todo: list[Action] = []
        self._listen(now_ms)
        if self._stopping:
            if self._line and self._until_middle(now_ms) > 0:
                return todo
            self._clear(now_ms, todo)
        if self._decide_by is not None and now_ms >= self._decide_by and self._held is not None:
            self.resume(self._held, "timeout")
        if self._pauses or self._resumes:
            self._report(todo)
        self._end_turns(todo)
        if self._held is None:
            self._play(now_ms, todo)
        return todo

    def close(self, now_ms: float) -> list[Action]:
        """The call is over: every turn that has not ended does, with what was heard of it."""
        todo: list[Action] = []
        self._listen(now_ms)
        self._put_back(now_ms)
        self._floor = 1 + max(self._replies, default=self._floor)
        self._end_turns(todo)
        return todo

    @property
    def playing(self) -> bool:
        """Whether `advance` is to be called every 20 ms."""
        return bool(self._line)

    def wake_ms(self, now_ms: float) -> float | None:
        """The one moment at which `advance` must be called whether or not anything plays."""
        if self._stopping:
            return now_ms + self._until_middle(now_ms)
        return self._decide_by

    @property
    def playhead(self) -> Playhead:
        """The turn that has the floor, its segment heard last, and the ms heard to the end of the last 20 ms frame."""
        reply = self._replies.get(self._started)
        return Playhead(reply.turn, reply.segment, reply.heard_ms) if reply else Playhead(self._started, 0, 0)

    # --- how ----------------------------------------------------------------------------------------------------

    def _reply(self, turn: int) -> Reply:
        reply = self._replies.get(turn)
        if reply is None:
            reply = self._replies[turn] = Reply(turn)
        return reply

    def _decide(self, utterance: int) -> bool:
        self._decided = max(utterance, self._decided)
        if self._held is None or self._held > utterance:
            return False
        self._held = self._decide_by = None
        return True

    def _listen(self, now_ms: float) -> None:
        """Count as heard what has sounded to its end."""
        line = self._line
        if not line:
            return
        reply = self._replies[line[0].turn]
        while line and self._line_from + FRAME_MS <= now_ms:
            self._heard(reply, line.popleft())
        if not line and not self._stopping and (reply.waiting or not reply.complete):
            self.underruns += 1

    def _heard(self, reply: Reply, piece: Piece) -> None:
        self._line_from += FRAME_MS
        reply.heard += piece.samples
        reply.segment = piece.segment

    def _until_middle(self, now_ms: float) -> float:
        """Milliseconds until the player is in the middle of a frame, 0 if it is near enough to it now."""
        wait = (self._line_from + _MIDDLE_MS - now_ms) % FRAME_MS
        return 0.0 if min(wait, FRAME_MS - wait) <= CLEAR_SLACK_MS else wait

    def _clear(self, now_ms: float, todo: list[Action]) -> None:
        self._stopping = False
        if self._line:
            todo.append(CLEAR)
            self._put_back(now_ms)

    def _put_back(self, now_ms: float) -> None:
        """The frame that sounds now will be heard to its end; those after it go back to the front of what waits."""
        if not self._line:
            return
        reply = self._replies[self._line[0].turn]
        if self._line_from <= now_ms:
            self._heard(reply, self._line.popleft())
        reply.waiting.extendleft(reversed(self._line))
        self._line.clear()

    def _report(self, todo: list[Action]) -> None:
        reply = self._replies.get(self._started)
        turn, segment, heard_ms = (reply.turn, reply.segment, reply.heard_ms) if reply else (0, 0, 0)
        for utterance in self._pauses:
            todo.append(Paused(turn=turn, segment=segment, heard_ms=heard_ms, utterance=utterance))
        self._pauses.clear()
        if self._resumes is not None:
            utterance, reason = self._resumes
            todo.append(Resumed(turn=turn, heard_ms=heard_ms, utterance=utterance, reason=reason))
            self._resumes = None

    def _end_turns(self, todo: list[Action]) -> None:
        for turn in sorted(self._replies):
            reply = self._replies[turn]
            over = reply.complete and not reply.waiting and not self._line and turn <= self._started
            if over or turn < self._floor:
                todo.append(PlaybackEnded(turn=turn, heard_ms=reply.heard_ms, interrupted=not over))
                del self._replies[turn]
                self._floor = max(turn + 1, self._floor)

    def _play(self, now_ms: float, todo: list[Action]) -> None:
        reply = self._replies.get(self._started)
        if reply is None:
            return
        line, waiting = self._line, reply.waiting
        while waiting:
            if not line:
                self._line_from = max(now_ms, self._line_from)
            if self._line_from + (len(line) + 1) * FRAME_MS > now_ms + LEAD_MS:
                return
            if not reply.sounded:
                reply.sounded = True
                todo.append(PlaybackStarted(turn=reply.turn))
            line.append(waiting[0])
            todo.append(waiting.popleft())
