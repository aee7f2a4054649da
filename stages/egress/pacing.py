"""Decides when each 20 ms frame of the reply is sent, and computes how much of it the caller has heard. Pure.

The caller's player and this clock agree without messages. The player starts its clock at the first frame it gets after
silence and plays frames back to back. On `clear` it finishes the frame that sounds and drops the rest. So the grid of
frames is known from the first send. A clear that leaves in the *middle* of a frame of that grid finds the player in
that same frame, as long as the transit of the two differs by less than half a frame. Frames that the player drops are
put back and are sent first when the hold ends: nothing is repeated or skipped, and the position in `paused` is final.

A decision about an earlier utterance never ends a hold. A turn plays only after `turn_started`; audio that comes before
is kept. Every turn that started or had audio ends exactly once.

All methods take the time in milliseconds of one monotonic clock. Inputs only change the state. `advance` returns what
is to be done now, in order: frames to play, CLEAR, and events to publish.
"""

from collections import deque
from typing import Final, Literal

from schemas.audio import FRAME_MS
from schemas.control import Playhead
from schemas.events import Event, Paused, PlaybackEnded, PlaybackStarted, Resumed
from session.recoverable import EgressRecoverable
from stages.egress.reply import Piece, Reply

LEAD_MS = 100  # ahead of the play clock: enough to bridge a busy event loop, little enough to be cleared
DECIDE_WITHIN_MS = 3_000  # after the caller fell silent; longer, and a lost decision would mute the agent
MAX_WAITING_MS = 6_000  # tts stays 5 s ahead, and a second more bridges what it cannot know yet
CLEAR_SLACK_MS = 2  # from the middle of a frame: the precision of an event loop's timer

CLEAR: Final = "clear"
NOTHING_PLAYED = EgressRecoverable()  # a session in which nothing has happened

ResumeReason = Literal["decided", "timeout"]
_MIDDLE_MS = FRAME_MS / 2
_MAX_WAITING = MAX_WAITING_MS // FRAME_MS

Action = Piece | Event | Literal["clear"]


class Pacing:
    """The playback of one session. left: where the owner before left off; its audio is to be sent again.

    A resumed hold is published again: the owner before may have died between the hold and its `paused`.
    """

    def __init__(self, left: EgressRecoverable = NOTHING_PLAYED, now_ms: float = 0.0) -> None:
        self.underruns = 0  # the player ran dry in the middle of a turn
        self._replies = {one.turn: Reply.resume(one) for one in left.playing}  # started or with audio, and not ended
        self._started = left.turn  # the newest turn that may play
        self._over_below = left.over_below  # turns below this number are over
        self._sent: deque[Piece] = deque()  # sent, and by the clock not yet heard to its end
        self._sent_from = 0.0  # when the first of `_sent` starts to sound; when it is empty, when the last one ended
        self._echoes = left.echoes
        self._held = left.held  # the newest utterance without a decision
        self._decided = left.decided  # the newest utterance with one
        self._decide_by = now_ms + DECIDE_WITHIN_MS if left.awaits_decision else None
        self._stopping = False  # the player is to be cleared in the middle of a frame
        self._pauses = [] if left.held is None else [left.held]  # to be answered with `paused` at the final position
        self._resumes: tuple[int, ResumeReason] | None = None

    # --- inputs -------------------------------------------------------------------------------------------------

    def begin_anew(self) -> None:
        """Drop audio of a segment that the old owner of tts did not finish; the new owner sends it again."""
        for reply in self._replies.values():
            reply.begin_anew()

    def add_audio(self, pcm: bytes, turn: int, segment: int, flags: int, at: int | None = None) -> bool:
        """Add a chunk of the reply; return False if it was refused: its turn is over, or too much audio waits.

        at: the first sample, counted from the beginning of the turn; None for audio behind that before it.
        """
        if turn < self._over_below:
            return False
        reply = self._reply(turn)
        if reply.complete or (pcm and len(reply.waiting) >= _MAX_WAITING):
            return False
        reply.add(pcm, segment, flags, at)
        return True

    def start(self, turn: int, answers: int) -> None:
        """Give the floor to `turn`: all turns below end, and so do holds for utterances <= `answers`."""
        self.cancel(turn - 1)
        if turn >= self._over_below:
            self._started = max(turn, self._started)
            self._reply(turn)
        self._decide(answers)

    def cancel(self, turn: int) -> None:
        """Play no more of `turn` or of any turn before it."""
        self._over_below = max(turn + 1, self._over_below)
        if self._sent and self._sent[0].turn < self._over_below:
            self._stopping = True

    def hold(self, utterance: int) -> None:
        """Hold the agent silent, because the caller began to speak; also if nothing sounds yet. Not for echo."""
        if utterance <= self._decided or self._echoes:
            return
        self._held = utterance
        self._decide_by = None
        self._resumes = None
        self._pauses.append(utterance)
        self._stopping = bool(self._sent)

    def fell_silent(self, utterance: int, now_ms: float) -> None:
        """Await the decision from now on, but for a bounded time: the caller stopped speaking."""
        if self._held is not None and utterance >= self._held:
            self._decide_by = now_ms + DECIDE_WITHIN_MS

    def resume(self, utterance: int, reason: ResumeReason = "decided") -> None:
        """End holds for utterances <= `utterance`, which were no turn: the reply goes on."""
        if self._decide(utterance):
            self._resumes = (utterance, reason)

    def expect_echo(self) -> None:
        """Hold for no sound from now on: the sounds of this caller may be the agent's own. A hold ends."""
        self._echoes = True
        if self._held is not None:
            self._resumes = (self._held, "decided")
            self._held = self._decide_by = None

    # --- actions ------------------------------------------------------------------------------------------------

    def advance(self, now_ms: float) -> list[Action]:
        """Return all actions that are due at `now_ms`, in order."""
        todo: list[Action] = []
        self._listen(now_ms)
        if self._stopping:
            if self._sent and self._until_middle(now_ms) > 0:
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
        """End every turn that has not ended, with what was heard of it: the session is over."""
        todo: list[Action] = []
        self._listen(now_ms)
        self._put_back(now_ms)
        self._over_below = 1 + max(self._replies, default=self._over_below)
        self._end_turns(todo)
        return todo

    @property
    def playing(self) -> bool:
        """Return whether `advance` is to be called every 20 ms."""
        return bool(self._sent)

    def wake_ms(self, now_ms: float) -> float | None:
        """Return the time at which `advance` must be called whether or not anything plays, None if there is none."""
        if self._stopping:
            return now_ms + self._until_middle(now_ms)
        return self._decide_by

    @property
    def playhead(self) -> Playhead:
        """Return the turn that has the floor, its segment heard last, and the ms heard to the end of the last frame."""
        reply = self._replies.get(self._started)
        return Playhead(reply.turn, reply.segment, reply.heard_ms) if reply else Playhead(self._started, 0, 0)

    @property
    def recoverable(self) -> EgressRecoverable:
        """Return what a new owner would start with."""
        started = sorted(turn for turn in self._replies if turn <= self._started)
        return EgressRecoverable(
            turn=self._started,
            over_below=self._over_below,
            playing=tuple(self._replies[turn].playing for turn in started),
            held=self._held,
            awaits_decision=self._decide_by is not None,
            decided=self._decided,
            echoes=self._echoes,
        )

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
        line = self._sent
        if not line:
            return
        reply = self._replies[line[0].turn]
        while line and self._sent_from + FRAME_MS <= now_ms:
            self._heard(reply, line.popleft())
        if not line and not self._stopping and (reply.waiting or not reply.complete):
            self.underruns += 1

    def _heard(self, reply: Reply, piece: Piece) -> None:
        self._sent_from += FRAME_MS
        reply.heard = piece.until
        reply.segment = piece.segment

    def _until_middle(self, now_ms: float) -> float:
        """Milliseconds until the player is in the middle of a frame, 0 if it is near enough to it now."""
        wait = (self._sent_from + _MIDDLE_MS - now_ms) % FRAME_MS
        return 0.0 if min(wait, FRAME_MS - wait) <= CLEAR_SLACK_MS else wait

    def _clear(self, now_ms: float, todo: list[Action]) -> None:
        self._stopping = False
        if self._sent:
            todo.append(CLEAR)
            self._put_back(now_ms)

    def _put_back(self, now_ms: float) -> None:
        """Count the frame that sounds now as heard, and put those after it back to the front of the waiting audio."""
        if not self._sent:
            return
        reply = self._replies[self._sent[0].turn]
        if self._sent_from <= now_ms:
            self._heard(reply, self._sent.popleft())
        reply.waiting.extendleft(reversed(self._sent))
        self._sent.clear()

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
            over = reply.complete and not reply.waiting and not self._sent and turn <= self._started
            if over or turn < self._over_below:
                todo.append(PlaybackEnded(turn=turn, heard_ms=reply.heard_ms, interrupted=not over))
                del self._replies[turn]
                self._over_below = max(turn + 1, self._over_below)

    def _play(self, now_ms: float, todo: list[Action]) -> None:
        reply = self._replies.get(self._started)
        if reply is None:
            return
        line, waiting = self._sent, reply.waiting
        while waiting:
            if not line:
                self._sent_from = max(now_ms, self._sent_from)
            if self._sent_from + (len(line) + 1) * FRAME_MS > now_ms + LEAD_MS:
                return
            if not reply.sounded:
                reply.sounded = True
                todo.append(PlaybackStarted(turn=reply.turn))
            line.append(waiting[0])
            todo.append(waiting.popleft())
