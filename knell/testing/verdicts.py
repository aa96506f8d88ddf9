"""What an outcome means for the message and its channel, and which HTTP status has to mean what."""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus

from knell.actors.line import plain
from knell.messages import Delivered, Outcome, Rejected, Retry, Scope, Unknown


class Verdict(StrEnum):
    """The class of an outcome: what knell does next hangs on nothing else."""

    DELIVERED = "delivered"
    TRANSIENT = "transient"  # try again; this attempt and the breaker count it
    LIMITED = "limited"  # wait; uses up no attempt
    MESSAGE = "message"  # a dead letter
    CHANNEL = "channel"  # pause the channel, keep the message
    GONE = "gone"  # never call this endpoint again
    UNKNOWN = "unknown"  # it may have arrived


_RETRY = {Scope.TRANSIENT: Verdict.TRANSIENT, Scope.LIMITED: Verdict.LIMITED}
_REJECTED = {
    Scope.MESSAGE: Verdict.MESSAGE,
    Scope.CHANNEL: Verdict.CHANNEL,
    Scope.GONE: Verdict.GONE,
}

_CHANNEL = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY}

EVERY_STATUS = sorted(
    {*(int(status) for status in HTTPStatus if status >= HTTPStatus.OK), 299, 499, *range(520, 531), 599}
)
"""The registered ones, those of well-known proxies, and the ends of the classes."""


def verdict(outcome: object) -> Verdict:
    """Return the class of an outcome.

    Raises:
        AssertionError: it is none, its reason contradicts it, or it holds what cannot be stored.
    """
    if isinstance(outcome, Delivered | Retry | Rejected | Unknown):
        try:
            plain(outcome)
        except TypeError as error:
            raise AssertionError(f"send returned {error}") from None
    match outcome:
        case Delivered():
            return Verdict.DELIVERED
        case Unknown():
            return Verdict.UNKNOWN
        case Retry(reason=reason):
            return _checked(_RETRY, outcome, reason.scope)
        case Rejected(reason=reason):
            return _checked(_REJECTED, outcome, reason.scope)
        case _:
            raise AssertionError(f"send returned {outcome!r}, which is no Outcome")


def _checked(table: Mapping[Scope, Verdict], outcome: Outcome, scope: Scope) -> Verdict:
    if scope not in table:
        raise AssertionError(f"{outcome!r}: this reason is about {scope}, which such an outcome cannot be")
    return table[scope]


def by_status(status: int) -> Verdict:
    """Return what a status means where a provider's documentation says nothing else."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Verdict.LIMITED
    if status == HTTPStatus.GONE:
        return Verdict.GONE
    if status in _CHANNEL:
        return Verdict.CHANNEL
    if status in _TRANSIENT:
        return Verdict.TRANSIENT
    hundreds = {2: Verdict.DELIVERED, 3: Verdict.CHANNEL, 4: Verdict.MESSAGE, 5: Verdict.TRANSIENT}
    return hundreds[status // 100]
