"""Replies of a session's language models: when one fails within a reply, the next goes on behind the last sentence.

The sentences that tts has are spoken, and no other model can take them back. The unfinished sentence is dropped. The
next model gets the spoken ones as `already_spoken`, and what it repeats of them is dropped (stages/llm/overlap.py).
Each provider is asked at most once for each reply, which bounds the requests of a call.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from stages.llm.contract import Finish, LanguageModel, LanguageModelProvider, ReplyItem, ReplyRequest, TextDelta
from stages.llm.overlap import Overlap
from stages.llm.reply import APOLOGY, PATIENT, QUICK, Piece, ask, segments
from stages.runtime.chain import Failure, InUse, ProviderChain


class Replies:
    """The models of one session. provider, model: the names of the one that was asked last."""

    def __init__(self, chain: ProviderChain[LanguageModelProvider, LanguageModel], first: InUse[LanguageModel]) -> None:
        self._chain = chain
        self.provider, self.model = first.choice.provider, first.value.model

    async def pieces(self, request: ReplyRequest, spoken: tuple[str, ...] = ()) -> AsyncGenerator[Piece, None]:
        """Yield the reply segment by segment; the last piece, and only that one, has `last`.

        spoken: its sentences so far, if another owner began it. A piece with a `failure` comes for each provider that
        failed. If all fail, an apology follows, or the reply ends with its last whole sentence. Closing this generator
        stops the model.
        """
        given = list(spoken)
        tried: set[int] = set()
        failures: list[Failure] = []
        while (used := await self._chain.open_next(tried, failures.append)) is not None:
            for failure in failures:
                yield _failed(failure)
            failures.clear()
            self.provider, self.model = used.choice.provider, used.value.model
            asked = replace(request, already_spoken=" ".join(given)) if given else request
            stream = without_overlap(ask(used.value, asked), given) if given else ask(used.value, asked)
            patience = QUICK if self._chain.names_another(tried) else PATIENT
            async with aclosing(segments(stream, patience, begun=bool(given))) as pieces:
                async for piece in pieces:
                    if piece.failure:
                        failures.append(self._chain.failed(used, piece.failure))
                        break
                    if piece.text:
                        given.append(piece.text)
                    if piece.last:
                        self._chain.succeeded(used)
                    yield piece
                    if piece.last:
                        return
        for failure in failures:
            yield _failed(failure)
        yield Piece("", last=True, truncated=True) if given else Piece(APOLOGY, last=True, kind="notice")


async def without_overlap(
    stream: AsyncGenerator[ReplyItem, None], spoken: list[str]
) -> AsyncGenerator[ReplyItem, None]:
    """Yield `stream` without the words with which it repeats the sentences `spoken`."""
    overlap = Overlap(spoken)
    async with aclosing(stream) as items:
        async for item in items:
            match item:
                case TextDelta(text):
                    if new := overlap.feed(text):
                        yield TextDelta(new)
                    continue
                case Finish():
                    if rest := overlap.flush():
                        yield TextDelta(rest)
            yield item


def _failed(failure: Failure) -> Piece:
    return Piece("", failure=failure.error, provider=failure.provider, next=failure.next)
