"""A message as its receiver has it, as data for the page."""

from typing import Any

from knell.lab import Lab, Message
from knell.lab.demo.ledger import channel_of
from knell.lab.segments import segments
from knell.lab.signatures import SignatureError, verify

_SIGNED = ("webhook-id", "webhook-timestamp", "webhook-signature")


def view(lab: Lab, message: Message) -> dict[str, Any]:
    """Return what the page shows of a message."""
    return {
        "channel": channel_of(message.provider),
        "at": message.received.isoformat(),
        "to": ", ".join(message.to),
        **_content(lab, message),
    }


def _content(lab: Lab, message: Message) -> dict[str, Any]:
    payload = message.payload
    match message.provider:
        case "smtp":
            return {"from": str(payload["From"]), "subject": message.title, "html": message.html}
        case "twilio":
            return {"text": message.text, "segments": segments(message.text, payload.get("From", ""))}
        case "webhook":
            return {"payload": payload, **_signature(lab, message)}
        case _:
            return {"payload": payload}


def _signature(lab: Lab, message: Message) -> dict[str, Any]:
    """Check the signature once more, so that the page shows a verdict and no belief."""
    request = next(
        (r for r in reversed(lab.webhook.requests) if r.headers.get(_SIGNED[0]) == message.id), None
    )
    if request is None:
        return {"verdict": "", "headers": {}}
    headers = {name: request.headers.get(name, "") for name in _SIGNED}
    try:
        verify(lab.webhook.secrets, request.headers, request.body, lab.webhook.setting.wall())
    except SignatureError as error:
        return {"verdict": str(error), "headers": headers}
    return {"verdict": "ok", "headers": headers}
