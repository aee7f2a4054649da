"""LiveKit's webhooks: an ingress checks each, because only ingress holds LiveKit's secret."""

from bus.connect import Bus
from schemas import control, subjects
from schemas.control import Webhook, WebhookChecked

CHECKED_WITHIN_S = 2.0  # LiveKit repeats a webhook that is not acknowledged


async def receive(bus: Bus, body: str, token: str) -> WebhookChecked:
    """Return whether LiveKit signed a webhook, and its content: answer 200 if it is genuine, else 401.

    body: exactly as it came, at most 64 KB. token: the `Authorization` header. Ingress counts forgeries, and ends the
    session of a room that is finished. Raises BusError where no ingress takes rooms: answer 503.
    """
    asked = control.encode(Webhook(body, token))
    return control.decode(await bus.request(subjects.webhook(), asked, CHECKED_WITHIN_S), WebhookChecked)
