"""What becomes of a text message after Twilio has taken it: its states, and why one is not delivered.

The order of status callbacks is not guaranteed and each may come twice
(twilio.com/docs/messaging/guides/track-outbound-message-status), so a state only ever moves up.
"""

from dataclasses import dataclass

from knell.messages import Scope

_RANKS = {
    "accepted": 0,
    "scheduled": 0,
    "queued": 0,
    "sending": 1,
    "sent": 2,
    "delivered": 3,
    "undelivered": 3,
    "failed": 3,
    "canceled": 3,
    "partially_delivered": 3,
    "read": 4,
}

FINAL = frozenset(status for status, rank in _RANKS.items() if rank >= _RANKS["delivered"])
"""States after which Twilio has a price and will say nothing else of weight."""

LOST = frozenset({"undelivered", "failed"})
"""Final states of a message that nobody got."""

OPTED_OUT = 21610
"""The number's owner said STOP (twilio.com/docs/api/errors, as the next ones)."""

_CODES: dict[int, tuple[Scope, str]] = {
    21610: (Scope.MESSAGE, "its owner opted out with STOP; nothing more is sent to it"),
    30001: (Scope.TRANSIENT, "Twilio's queue for the sender was full: send less, or use a messaging service"),
    30002: (Scope.CHANNEL, "the Twilio account is suspended: see the Twilio Console"),
    30003: (Scope.TRANSIENT, "the phone is off or out of reach: it may work in an hour"),
    30004: (Scope.MESSAGE, "the number or its carrier blocks these messages: ask its owner"),
    30005: (Scope.MESSAGE, "the number does not exist any more: correct to_numbers"),
    30006: (Scope.MESSAGE, "it is a landline: put a mobile number in to_numbers"),
    30007: (Scope.MESSAGE, "a carrier filtered it as unwanted: register the sender, and use fewer links"),
    30008: (Scope.TRANSIENT, "the carrier gave no reason: it may work later"),
    30022: (Scope.LIMITED, "the sender's rate at US carriers is used up: send less, or raise the campaign's"),
    30023: (Scope.LIMITED, "the sender's day at a US carrier is used up: wait, or raise the campaign's cap"),
    30034: (Scope.CHANNEL, "the sender is not registered for US numbers (A2P 10DLC): register it at Twilio"),
}
"""Error codes of messages that had been accepted (twilio.com/docs/api/errors), and what to do."""

FILTERED = 30007
"""One message a carrier takes for spam is a chance; several are a sender in trouble."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a message was not delivered. `code` is 0 where Twilio gave none."""

    code: int
    scope: Scope
    why: str


def advance(before: str, status: str) -> bool:
    """Whether a state is news after the one before (empty: none yet).

    What Twilio may call a state some day is none we know, and never is. `read` says that a message was
    delivered, so it may come first; after a loss it cannot be true.
    """
    if status not in _RANKS or (status == "read" and before in LOST):
        return False
    return _RANKS[status] > _RANKS.get(before, -1)


def loss(code: str) -> Loss:
    """Say why a message was lost, by the `ErrorCode` of its callback, whatever that holds."""
    number = int(code) if code.isascii() and code.isdecimal() and len(code) <= len("65535") else 0
    if number in _CODES:
        return Loss(number, *_CODES[number])
    more = f"see https://www.twilio.com/docs/api/errors/{number}" if number else "Twilio gave no reason"
    return Loss(number, Scope.MESSAGE, more)
