"""SmolLM2-135M on this machine's processor, closely bounded: no key, no network. English only.

The model is too small to be trusted with facts. For an agent with a fact sheet, the matching fact is the answer, word
for word; a question that no fact answers is handed to a person. bench/questions.py measures that the answers get worse
with every fact the model may rephrase. The model writes freely only for an agent without facts.
"""

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Executor
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import xllamacpp
from pydantic import BaseModel, ConfigDict, Field

from stages.llm.contract import Capabilities, ChatMessage, ContextTooLong, Finish, ReplyItem, ReplyRequest, TextDelta
from stages.llm.fact_retrieval import RELATED
from stages.llm.small_talk import courtesy
from stages.runtime.engine_thread import engine_thread
from stages.runtime.options import English
from stages.runtime.providers import ProviderContext, ProviderError, parse_options
from stages.runtime.weights import SMOLLM2, locate

CAPACITY = 8  # calls a worker; one reply is written at a time and the others wait their turn
CONTEXT_TOKENS = 2_048
THREADS = 1  # the other core belongs to the voice and to pacing
REMEMBERED = 4  # messages of the call that the model reads; each costs 0.2 s before the first word
READ = 2  # facts that the model reads, for the same reason

WARM_UP = {"messages": [{"role": "user", "content": "Hello."}], "max_tokens": 1}

UNKNOWN = "I'm sorry, I don't have that here, but I can connect you with a colleague."
STILL_UNKNOWN = "I'm afraid I don't have that either. Shall I connect you with a colleague?"

_EXAMPLES = (
    ("Do you sell umbrellas?", ("Dogs stay for 10 dollars a night.", "We have 40 rooms."), UNKNOWN),
    ("Until when can I swim?", ("We have 40 rooms.", "The pool closes at 9 pm."), "The pool closes at 9 pm."),
    (
        "Can I bring my puppy?",
        ("Dogs stay for 10 dollars a night.", "Breakfast is from 7 to 10."),
        "Dogs stay for 10 dollars a night.",
    ),
)


class Options(BaseModel):
    """answers: `matched`, facts alone; `both`, the model picks among near matches; `model`, the model answers all.

    language: English, the one that the small talk and the model know.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    answers: Literal["matched", "both", "model"] = "matched"
    max_tokens: int = Field(default=60, ge=1, le=500)
    language: English = "en"


class Engine:
    """The model. It serves one request at a time, in the thread in which it was loaded."""

    def __init__(self, path: Path, thread: Executor) -> None:
        self._thread = thread
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx = CONTEXT_TOKENS
        parameters.n_parallel = 1
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = THREADS
        parameters.verbosity = -1  # it would write what callers say to stderr
        parameters.api_keys = [secrets.token_hex()]  # it also listens on the loopback interface: for nobody
        self._server = xllamacpp.Server(parameters)
        # Warms the model, and waits until the server's loop runs: a server that is closed before never stops closing.
        self._server.handle_chat_completions({**WARM_UP, "stream": True}, lambda _: False)

    async def stream(self, request: dict[str, object]) -> AsyncGenerator[ReplyItem, None]:
        """Yield the answer. Closed early, the model stops before its next token. Raises ProviderError."""
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[ReplyItem | None] = asyncio.Queue()  # max_tokens bounds it
        stopped = threading.Event()

        def receive(received: Any) -> bool:  # Any: the engine gives JSON, as one object or several
            for chunk in received if isinstance(received, list) else [received]:
                if "error" in chunk:
                    failures.append(str(chunk["error"].get("type", "error")))
                for choice in chunk.get("choices", ()):
                    if text := choice["delta"].get("content"):
                        loop.call_soon_threadsafe(items.put_nowait, TextDelta(text))
                    if choice.get("finish_reason") == "length":
                        loop.call_soon_threadsafe(items.put_nowait, Finish("length"))
            return stopped.is_set()  # true ends the request

        def work() -> None:
            try:
                if not stopped.is_set():
                    answer = self._server.handle_chat_completions({**request, "stream": True}, receive)
                    if isinstance(answer, dict) and "error" in answer:
                        failures.append(str(answer["error"].get("type", "error")))
            finally:
                loop.call_soon_threadsafe(items.put_nowait, None)

        failures: list[str] = []
        working = loop.run_in_executor(self._thread, work)
        try:
            finished = False
            while (item := await items.get()) is not None:
                finished = finished or isinstance(item, Finish)
                yield item
            await working
        finally:
            stopped.set()
        if failures:
            if failures[0] == "exceed_context_size_error":
                raise ContextTooLong(f"the local model reads {CONTEXT_TOKENS} tokens, and the request has more")
            raise ProviderError("bad_request", f"the local model refused: {failures[0]}")
        if not finished:
            yield Finish()


class Receptionist:
    """The language model of one session."""

    model = "SmolLM2-135M-Instruct"

    def __init__(self, engine: Engine, options: Options) -> None:
        self._engine = engine
        self._options = options

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyItem, None]:
        """Yield small talk, a fact, the model's words, or the offer of a person: the first that fits."""
        known = self._known(request)
        if known is not None:
            for word in known.removeprefix(request.already_spoken).split(" "):
                yield TextDelta(word + " ")
            yield Finish()
            return
        async with aclosing(self._engine.stream(self._prompt(request))) as items:
            async for item in items:
                yield item

    def _known(self, request: ReplyRequest) -> str | None:
        """Return the answer that needs no model, None if one is needed."""
        if self._options.answers == "model":
            return None
        polite = courtesy(request.utterance, request.history)
        if polite is not None or not request.facts:
            return polite
        if answers := [one.fact.text for one in request.facts if one.answers]:
            return " ".join(answers)
        if request.facts[0].score >= RELATED and self._options.answers == "both":
            return None
        said = [message.content for message in request.history if message.role == "assistant"]
        return STILL_UNKNOWN if said and said[-1] == UNKNOWN else UNKNOWN

    def _prompt(self, request: ReplyRequest) -> dict[str, object]:
        limits: dict[str, object] = {"temperature": 0, "max_tokens": self._options.max_tokens}
        if not request.facts:
            recent = [_message(message) for message in request.history[-REMEMBERED:]]
            messages = [_system(request.prompt), *recent, _user(request.utterance)]
            return {**limits, "messages": messages}
        notes = tuple(one.fact.text for one in request.facts[:READ])
        messages = [_system("Answer the caller from the notes.")]
        for asked, given, answer in _EXAMPLES:
            messages += [_user(_noted(asked, given)), _message(ChatMessage("assistant", answer))]
        messages.append(_user(_noted(request.utterance, notes)))
        if self._options.answers == "both":  # word for word, so that it cannot make anything up
            limits["grammar"] = "root ::= " + " | ".join(_literal(text) for text in (*notes, UNKNOWN))
            limits["max_tokens"] = -1
        return {**limits, "messages": messages}


class Local:
    """The provider: one model for all sessions of the worker."""

    capacity = CAPACITY
    capabilities = Capabilities()

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def open(self, options: dict[str, Any]) -> AsyncIterator[Receptionist]:
        yield Receptionist(self._engine, parse_options(Options, options))


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[Local]:
    with engine_thread("language-model") as thread:
        path = await asyncio.to_thread(locate, SMOLLM2, context.weights)
        yield Local(await asyncio.get_running_loop().run_in_executor(thread, Engine, path, thread))


def _noted(asked: str, notes: tuple[str, ...]) -> str:
    return "Notes:\n" + "\n".join(f"- {note}" for note in notes) + f"\n\nCaller: {asked}"


def _system(content: str) -> dict[str, str]:
    return {"role": "system", "content": content}


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def _message(message: ChatMessage) -> dict[str, str]:
    return {"role": message.role, "content": message.content}


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
