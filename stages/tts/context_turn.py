"""A turn at a vendor that speaks over a shared websocket: pieces of text go out ahead, audio comes back in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from schemas.audio import SAMPLE_BYTES, samples_to_ms
from schemas.events import Word
from schemas.subjects import new_id
from stages.runtime.providers import ProviderError
from stages.tts.contract import AudioChunk, Capabilities
from stages.tts.pieces import pieces
from stages.tts.shared_socket import (
    MOST_WAITING,
    Audio,
    Characters,
    Failure,
    Received,
    SharedSocket,
    SocketPool,
    Target,
    Words,
)
from stages.tts.word_alignment import Letters, Timed, WordAlignment

SAME_MS = 100  # by which a vendor's word times and its audio may differ
AHEAD = 2  # pieces at the vendor: the second hides its delay, and a cancelled turn has paid for no more than these


class Wire(Protocol):
    """The messages of one vendor with the options of one session.

    target: where its sockets connect. rate: of its audio. per_piece: each piece has a context of its own, because only
    the end of a context is confirmed. exclusive: audio names no context, so one turn has the socket to its end, and a
    cancel closes it. most_pieces: of one socket.
    """

    target: Target
    rate: int
    per_piece: bool
    exclusive: bool
    most_pieces: int | None
    capabilities: Capabilities

    def spoken(self, text: str) -> str:
        """Return a sentence as the vendor gets it."""

    def say(self, context: str, text: str, *, first: bool) -> list[str]:
        """Return the messages that ask for one piece. first: of its context."""

    def finish(self, context: str) -> list[str]:
        """Return the messages that end a context whose pieces have all been spoken."""

    def cancel(self, context: str) -> list[str]:
        """Return the messages that stop a context at once."""


@dataclass
class _Piece:
    """One piece of a segment. text: "" has nothing to say. came: what came of it before the pieces before it ended."""

    segment: int
    text: str
    last: bool
    context: str = ""
    came: deque[Received] = field(default_factory=deque)
    samples: int = 0
    letters: Letters = field(default_factory=Letters)
    words_from_ms: int | None = None  # where the piece begins by the vendor's word times, once it is known


class _Segment:
    """The audio and the words of the segment that is being yielded. samples: so far."""

    def __init__(self, text: str) -> None:
        self.samples = 0
        self.words = WordAlignment(text)
        self.known: tuple[Word, ...] = ()  # words that go with the next audio


class ContextTurn:
    """The synthesis of one turn."""

    def __init__(self, pool: SocketPool, wire: Wire) -> None:
        self._pool = pool
        self._wire = wire
        self._waiting: deque[_Piece] = deque()  # not sent; the stage bounds how many sentences wait
        self._sent: deque[_Piece] = deque()
        self._segments: dict[int, _Segment] = {}
        self._inbox: asyncio.Queue[Received | None] = asyncio.Queue()  # None: look again
        self._socket: SharedSocket | None = None
        self._context = ""  # of the next piece, "" for a new one
        self._context_samples = 0  # of the pieces of the newest context that have ended
        self._fresh = True  # the socket had no turn before this one
        self._ended = self._cancelled = False

    def push(self, segment: int, text: str) -> None:
        """Queue one sentence."""
        self._segments[segment] = _Segment(text)
        cut = pieces(self._wire.spoken(text)) or [""]
        self._waiting += [_Piece(segment, piece, place == len(cut) - 1) for place, piece in enumerate(cut)]
        self._inbox.put_nowait(None)

    def end(self) -> None:
        """Let `chunks` end after the sentences that were pushed."""
        self._ended = True
        self._inbox.put_nowait(None)

    async def chunks(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield the audio in order. Raises ProviderError."""
        while not self._cancelled:
            await self._send_ahead()
            if self._sent and not self._sent[0].text:
                piece = self._sent.popleft()
                yield AudioChunk(b"", self._wire.rate, piece.segment, last_of_segment=True)
                continue
            if not self._sent:
                self._finish()
                if self._ended and not self._waiting:
                    return
                if not self._waiting:
                    await self._inbox.get()
                continue
            head = self._sent[0]
            received = head.came.popleft() if head.came else await self._inbox.get()
            if received is None:
                continue
            for chunk in await self._take(received):
                yield chunk

    async def cancel(self) -> None:
        """Stop the vendor's work on this turn."""
        if self._cancelled:
            return
        self._cancelled = True
        self._inbox.put_nowait(None)
        socket, busy = self._socket, any(piece.text for piece in self._sent)
        contexts = self._leave()
        if socket is None or socket.lost:
            return
        if not self._wire.exclusive:
            socket.send(message for context in contexts for message in self._wire.cancel(context))
        elif busy:
            await socket.close()
            self._pool.warm(self._wire.target)

    async def _send_ahead(self) -> None:
        while self._waiting and len(self._sent) < AHEAD:
            if self._socket and (self._socket.lost or self._socket.pieces == self._wire.most_pieces):
                if any(piece.text for piece in self._sent):
                    return  # their failure, or their audio, waits to be read
                if not self._socket.lost:
                    await self._socket.close()
                self._leave()
            piece = self._waiting[0]
            if piece.text:
                await self._send(piece)
            self._sent.append(self._waiting.popleft())

    async def _send(self, piece: _Piece) -> None:
        if self._socket is None:
            self._socket = await self._pool.take(self._wire.target, self._receive)
            self._fresh = not self._socket.pieces
        context = self._context or new_id()
        self._socket.contexts[context] = self._receive
        self._socket.pieces += 1
        self._socket.send(self._wire.say(context, piece.text, first=not self._context))
        piece.context = context
        self._context = "" if self._wire.per_piece else context

    def _receive(self, received: Received) -> None:
        if self._inbox.qsize() >= MOST_WAITING:
            received = Failure("", ProviderError("server", f"{MOST_WAITING} messages wait to be read"))
        if self._inbox.qsize() <= MOST_WAITING:
            self._inbox.put_nowait(received)

    async def _take(self, received: Received) -> list[AudioChunk]:
        if isinstance(received, Failure):
            if received.lost and not self._fresh and not any(piece.samples or piece.came for piece in self._sent):
                self._ask_again()
                return []
            raise received.error
        head = self._sent[0]
        if received.context and received.context != head.context:
            for piece in self._sent:
                if piece.context == received.context:
                    piece.came.append(received)
            return []
        return list(self._chunks_of(head, received))

    def _chunks_of(self, head: _Piece, received: Received) -> Iterator[AudioChunk]:
        segment, rate = self._segments[head.segment], self._wire.rate
        if isinstance(received, Audio):
            if len(received.pcm) % SAMPLE_BYTES:
                raise ProviderError("server", "half a sample of audio came", retryable=True)
            head.samples += len(received.pcm) // SAMPLE_BYTES
            segment.samples += len(received.pcm) // SAMPLE_BYTES
            if received.pcm:
                yield AudioChunk(received.pcm, rate, head.segment, words=segment.known)
                segment.known = ()
        elif isinstance(received, Words):
            segment.known += self._aligned(head, segment, received.words)
        elif isinstance(received, Characters):
            at_ms = samples_to_ms(head.samples, rate)
            whole = [
                word
                for char, start, end in received.characters
                if (word := head.letters.add(char, start + at_ms, end + at_ms))
            ]
            segment.known += self._aligned(head, segment, whole)
        else:
            if word := head.letters.end():
                segment.known += self._aligned(head, segment, [word])
            self._sent.popleft()
            self._context_samples = 0 if self._wire.per_piece else self._context_samples + head.samples
            if self._wire.per_piece and self._socket:
                self._socket.contexts.pop(head.context, None)
            duration_ms = samples_to_ms(segment.samples, rate)
            if head.last:
                words = segment.words.end(duration_ms) if self._wire.capabilities.word_times else ()
                yield AudioChunk(b"", rate, head.segment, last_of_segment=True, words=(*segment.known, *words))
                del self._segments[head.segment]

    def _aligned(self, head: _Piece, segment: _Segment, words: Sequence[Timed]) -> tuple[Word, ...]:
        """Return the words of the sentence. Vendors count from the start of the context, some from each flush."""
        before_ms = samples_to_ms(self._context_samples, self._wire.rate)
        if head.words_from_ms is None and words:
            head.words_from_ms = before_ms if words[0][1] >= before_ms - SAME_MS else 0
        shift_ms = samples_to_ms(segment.samples - head.samples, self._wire.rate) - (head.words_from_ms or 0)
        aligned: list[Word] = []
        for text, start_ms, end_ms in words:
            aligned += segment.words.add(text, start_ms + shift_ms, end_ms + shift_ms)
        return tuple(aligned)

    def _finish(self) -> None:
        """End the context: the vendor may let it expire while the model writes, and an open one counts as a call."""
        socket, context = self._socket, self._context
        if self._wire.exclusive and not (self._ended and not self._waiting):
            return
        self._leave()
        if context and socket:
            socket.send(self._wire.finish(context))

    def _leave(self) -> list[str]:
        """Read the socket no more. Return the contexts that are open."""
        socket, self._socket = self._socket, None
        self._context, self._context_samples = "", 0
        return socket.leave(self._receive) if socket else []

    def _ask_again(self) -> None:
        """Send the pieces again on a new socket: the kept one was dead, and nothing of them had come."""
        self._leave()
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()


class ContextSynthesizer:
    """The voice of one session."""

    def __init__(self, pool: SocketPool, wire: Wire) -> None:
        self._pool = pool
        self._wire = wire
        self.capabilities = wire.capabilities

    def open_turn(self) -> ContextTurn:
        """Begin a turn."""
        return ContextTurn(self._pool, self._wire)
