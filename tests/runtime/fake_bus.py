"""A bus in virtual time, for tests of one worker: messages and subscriptions travel, and overtake nothing."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable

from bus.message import Callback, Message

TRAVEL_S = 0.005  # from a client to the server, and from the server to a client


class FakeSubscription:
    """Interest in a subject, which the server learns of, and forgets, one travel after the client asks."""

    def __init__(self, bus: "FakeBus", subject: str, callback: Callback) -> None:
        self.subject = subject
        self.callback: Callback | None = callback
        self.known = False  # to the server
        self._bus = bus

    async def unsubscribe(self) -> None:
        """End it. Messages that travel to it are lost."""
        self.callback = None
        await asyncio.sleep(TRAVEL_S)
        self._bus.subscriptions.discard(self)

    async def drain(self) -> None:
        """End it. Messages that travel to it arrive."""
        await asyncio.sleep(TRAVEL_S)
        self.known = False
        await asyncio.sleep(2 * TRAVEL_S)
        await self.unsubscribe()


class FakeBus:
    """Carries messages of ingress to one worker, and counts the answers on each reply subject.

    delay_s: how much longer the next subscribe or flush takes.
    """

    def __init__(self, answered: Callable[[str, bytes], None]) -> None:
        self.connected = True
        self.undelivered = 0
        self.delay_s = 0.0
        self.subscriptions: set[FakeSubscription] = set()
        self.answers: Counter[str] = Counter()  # reply subject -> answers of the worker, and 503s of the server
        self._answered = answered
        self._travelling: deque[Callable[[], None]] = deque()

    async def subscribe(self, subject: str, callback: Callback, queue: str = "") -> FakeSubscription:
        subscription = FakeSubscription(self, subject, callback)
        self.subscriptions.add(subscription)
        await asyncio.sleep(self.delay_s)
        asyncio.get_running_loop().call_later(TRAVEL_S, setattr, subscription, "known", True)
        return subscription

    async def flush(self, *, media: bool = True) -> None:
        await asyncio.sleep(2 * TRAVEL_S + self.delay_s)

    def publish(self, subject: str, data: bytes, reply: str = "", headers: object = None) -> None:
        self.answers[subject] += 1
        self._answered(subject, data)

    def new_inbox(self) -> str:
        return "_INBOX.worker"

    def deliver(self, message: Message, filter: str) -> None:
        """Send a message of ingress to each subscription of `filter`, or answer 503 if the server knows none."""
        known = [subscription for subscription in self.subscriptions if subscription.known]
        receivers = [subscription for subscription in known if subscription.subject == filter]
        self.answers[message.reply] += not receivers

        def arrive() -> None:
            for subscription in receivers:
                if subscription.callback is not None:
                    subscription.callback(message)

        self.send(arrive)

    def send(self, arrive: Callable[[], None]) -> None:
        """Call `arrive` after one travel, in the order of the calls."""
        self._travelling.append(arrive)
        asyncio.get_running_loop().call_later(TRAVEL_S, lambda: self._travelling.popleft()())
