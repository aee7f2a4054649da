"""Checks webhooks of LiveKit for the gateway, which does not have the secret, and forwards the end of a room."""

from collections import OrderedDict

from bus.message import Message
from schemas import control, subjects
from schemas.control import RoomFinished, Webhook, WebhookChecked
from transports.livekit.tokens import RoomWebhook, Tokens
from transports.transport import RoomHost

REMEMBERED = 1_000  # ids: LiveKit repeats a webhook that was not acknowledged, within minutes
MAX_BODY = 64 * 1024  # characters; a webhook is a few KB


class Webhooks:
    """Answers the gateway whether a webhook is genuine, and publishes the end of a room to the ingress serving it."""

    def __init__(self, host: RoomHost, tokens: Tokens) -> None:
        self._host = host
        self._tokens = tokens
        self._received: OrderedDict[str, None] = OrderedDict()  # ids of webhooks

    async def open(self) -> None:
        """Subscribe, in a queue group: any ingress with the secret can check any webhook."""
        await self._host.bus.subscribe(subjects.webhook(), self._check, queue=subjects.INGRESS)

    def _check(self, message: Message) -> None:
        try:
            request = control.decode(message.data, Webhook)
        except control.BadMessage:
            self._host.count("bad_control")
            return
        webhook = self._tokens.read_webhook(request.body, request.token) if len(request.body) <= MAX_BODY else None
        if webhook is None:
            self._host.count("forged_webhook")
            answer = WebhookChecked(genuine=False)
        else:
            fresh = self._is_fresh(webhook.id)
            answer = WebhookChecked(genuine=True, event=webhook.event, room=webhook.room, fresh=fresh)
            if fresh:
                self._forward(webhook)
        self._host.bus.publish(message.reply, control.encode(answer))

    def _forward(self, webhook: RoomWebhook) -> None:
        if webhook.event == "room_finished":
            finished = control.encode(RoomFinished(webhook.room_id))
            self._host.bus.publish(subjects.room(webhook.room, "finished"), finished)

    def _is_fresh(self, webhook: str) -> bool:
        if webhook in self._received:
            return False
        self._received[webhook] = None
        if len(self._received) > REMEMBERED:
            self._received.popitem(last=False)
        return True
