"""The second source of room ends: what LiveKit posts to the gateway is checked here, where its secret is."""

from collections import OrderedDict

from bus.message import Message
from schemas import control, subjects
from schemas.control import RoomFinished, Webhook, WebhookChecked
from stages.runtime.worker import Worker
from transports.livekit.identities import Keys, Notice

REMEMBERED = 1_000  # ids: LiveKit repeats what was not acknowledged within minutes
MAX_BODY = 64 * 1024  # characters; an event is a few KB


class Webhooks:
    """Tells the gateway which webhooks are true, and the ingress that serves a room when it is closed."""

    def __init__(self, worker: Worker, keys: Keys) -> None:
        self._worker = worker
        self._keys = keys
        self._heard: OrderedDict[str, None] = OrderedDict()

    async def open(self) -> None:
        """Any ingress that has the secret may be asked."""
        await self._worker.bus.subscribe(subjects.webhook(), self._check, queue=subjects.INGRESS)

    def _check(self, message: Message) -> None:
        try:
            asked = control.decode(message.data, Webhook)
        except control.BadMessage:
            self._worker.counters["bad_control"] += 1
            return
        notice = self._keys.opened(asked.body, asked.token) if len(asked.body) <= MAX_BODY else None
        if notice is None:
            self._worker.counters["forged_webhook"] += 1
            checked = WebhookChecked(genuine=False)
        else:
            fresh = self._is_fresh(notice.id)
            checked = WebhookChecked(genuine=True, event=notice.event, room=notice.room, fresh=fresh)
            if fresh:
                self._pass_on(notice)
        self._worker.bus.publish(message.reply, control.encode(checked))

    def _pass_on(self, notice: Notice) -> None:
        if notice.event == "room_finished":
            finished = control.encode(RoomFinished(notice.room_id))
            self._worker.bus.publish(subjects.room(notice.room, "finished"), finished)

    def _is_fresh(self, event: str) -> bool:
        if event in self._heard:
            return False
        self._heard[event] = None
        if len(self._heard) > REMEMBERED:
            self._heard.popitem(last=False)
        return True
