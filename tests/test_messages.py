from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from knell.deliveries import Again, Attempt, Crashed, Dead, Delivery, Done, Settlement, Verdict
from knell.events import NotificationEvent
from knell.messages import (
    Attachment,
    ChannelStatus,
    Delivered,
    DeliveryResult,
    DeliveryState,
    DeliveryStatus,
    FormattedMessage,
    HealthStatus,
    MessageFormat,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Scope,
    Unknown,
)

MakeEvent = Callable[..., NotificationEvent]


def _round_trip(value: Any, kind: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)


# Reasons


def test_every_reason_says_whom_it_is_about() -> None:
    """The set is closed, and the scope decides what happens next."""
    assert {reason: reason.scope for reason in Reason} == {
        "delivered": Scope.NONE,
        "timeout": Scope.TRANSIENT,
        "connection_error": Scope.TRANSIENT,
        "server_error": Scope.TRANSIENT,
        "rate_limit": Scope.LIMITED,
        "invalid_message": Scope.MESSAGE,
        "too_large": Scope.MESSAGE,
        "refused": Scope.MESSAGE,
        "recipient": Scope.MESSAGE,
        "opted_out": Scope.MESSAGE,
        "budget": Scope.MESSAGE,
        "authentication": Scope.CHANNEL,
        "configuration": Scope.CHANNEL,
        "tls": Scope.CHANNEL,
        "address_denied": Scope.CHANNEL,
        "gone": Scope.GONE,
        "crashed": Scope.TRANSIENT,
        "hung": Scope.TRANSIENT,
        "expired": Scope.MESSAGE,
        "cancelled": Scope.MESSAGE,
    }


@pytest.mark.parametrize("outcome", [Retry, Rejected, Unknown])
def test_a_reason_may_be_given_as_text(outcome: type[Retry | Rejected | Unknown]) -> None:
    """An author of a channel may write the word; another word is an error at once."""
    made = outcome("timeout")  # type: ignore[arg-type]  # text is what is tested
    assert made.reason is Reason.TIMEOUT
    assert made == outcome(Reason.TIMEOUT)
    with pytest.raises(ValueError, match="weather"):
        outcome("weather")  # type: ignore[arg-type]


# States


def test_only_finished_deliveries_are_final() -> None:
    """Pending and sending ones are not."""
    assert {state for state in DeliveryState if not state.final} == {"pending", "sending"}


# Values


@pytest.mark.parametrize(
    "outcome",
    [
        Delivered(),
        Delivered({"ts": "1.2"}, "queued"),
        Retry(Reason.RATE_LIMIT, 2.5, "slow down", {"a@example.com": True}),
        Rejected(Reason.AUTHENTICATION, "no", {"a": 1}),
        Unknown(Reason.TIMEOUT, "no answer"),
    ],
)
def test_an_outcome_survives_json(outcome: Outcome) -> None:
    """Outcomes are values: each kind is told apart by its tag."""
    assert _round_trip(outcome, Outcome) == outcome


@pytest.mark.parametrize(
    "verdict",
    [
        Done({"id": 1}),
        Again(Reason.TIMEOUT, 1.5, False, "x", {"a": 1}),
        Dead(Reason.REFUSED, "x", {"a": 1}),
        Crashed(3, "Traceback"),
    ],
)
def test_a_verdict_survives_json(verdict: Verdict) -> None:
    """Verdicts too."""
    assert _round_trip(verdict, Verdict) == verdict


def test_a_message_survives_json(make_event: MakeEvent) -> None:
    """With attachments and events; bytes become base64."""
    message = FormattedMessage(
        format=MessageFormat.JSON,
        content={"text": "x"},
        attachments=(Attachment("log.txt", b"\xff\0"),),
        metadata={"event": {"title": "x"}},
        id="msg_1",
        attempt=2,
        events=(make_event(),),
        progress={"a": 1},
    )
    assert _round_trip(message, FormattedMessage) == message


def test_results_and_states_survive_json() -> None:
    """What the sender is told is what an API can answer."""
    now = datetime.now(UTC)
    result = DeliveryResult(notification_id="e", channel="c", success=False, error="x", reason=Reason.GONE)
    status = DeliveryStatus(
        notification_id="e",
        event_type="x",
        accepted=now,
        channels=[
            ChannelStatus(delivery_id="e:c", channel="c", state=DeliveryState.DEAD, attempts=1, finished=now)
        ],
        suppressed={"d": "disabled"},
    )
    health = HealthStatus(False, "down: x", {"x": "down"})
    assert _round_trip(result, DeliveryResult) == result
    assert _round_trip(status, DeliveryStatus) == status
    assert _round_trip(health, HealthStatus) == health


def test_values_cannot_be_changed(make_event: MakeEvent) -> None:
    """What crosses a mailbox is frozen."""
    frozen: list[tuple[Any, str]] = [
        (make_event(), "title"),
        (Delivered(), "receipt"),
        (DeliveryResult(notification_id="e", channel="c", success=True), "success"),
        (FormattedMessage(format=MessageFormat.TEXT, content="x"), "content"),
    ]
    for value, field in frozen:
        with pytest.raises(AttributeError):
            setattr(value, field, "changed")


# Deliveries


def test_an_attempt_has_the_same_id_every_time(make_event: MakeEvent) -> None:
    """The idempotency key names the deliveries and nothing that changes between attempts."""
    event = make_event(event_id="e1")
    first = Delivery(row=1, event=event, channel="slack", order_key="k")
    later = Delivery(row=1, event=event, channel="slack", order_key="k", attempts=3, crashes=1)
    assert first.id == later.id == "e1:slack"
    assert Attempt((first,)).id == Attempt((later,)).id


def test_attempts_at_different_deliveries_have_different_ids(make_event: MakeEvent) -> None:
    """Another channel, another event, a batch: each is another message."""
    first = Delivery(row=1, event=make_event(event_id="e1"), channel="slack", order_key="k")
    second = Delivery(row=2, event=make_event(event_id="e2"), channel="slack", order_key="k")
    third = Delivery(row=3, event=make_event(event_id="e1"), channel="email", order_key="k")
    attempts = [Attempt((first,)), Attempt((second,)), Attempt((third,)), Attempt((first, second))]
    assert len({attempt.id for attempt in attempts}) == 4
    assert attempts[3].rows == (1, 2)


def test_a_settlement_survives_json(make_event: MakeEvent) -> None:
    """With its delivery, its verdict and its outcome."""
    delivery = Delivery(row=1, event=make_event(), channel="slack", order_key="k")
    settlement = Settlement(delivery, Done(), Delivered("ref"), 0.5)
    assert _round_trip(settlement, Settlement) == settlement
