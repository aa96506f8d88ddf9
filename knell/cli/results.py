"""How deliveries ended, for people and for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from knell.cli.plain import brief
from knell.messages import ChannelStatus, DeliveryResult, DeliveryState, DeliveryStatus, Reason

PENDING = "pending"
"""The error of a result that is none yet, as `Receipt.results` has it."""


def results_of(status: DeliveryStatus) -> list[DeliveryResult]:
    """Return the results that a status tells, one per channel."""
    return [_result(status, channel) for channel in status.channels]


def echo_results(results: Sequence[DeliveryResult], *, err: bool = False) -> None:
    """Print a line for each channel."""
    width = max((len(result.channel) for result in results), default=0)
    for result in results:
        click.echo(f"{result.channel:<{width}}  {_line(result)}", err=err)


def echo_json(event_id: str, *, duplicate: bool, results: Sequence[DeliveryResult] | None = None) -> None:
    """Print what became of an event as JSON."""
    more: dict[str, Any] = {} if results is None else {"results": results}
    click.echo(msgspec.json.encode({"id": event_id, "duplicate": duplicate, **more}).decode())


def nobody(suppressed: Mapping[str, str]) -> str:
    """Say that no channel gets an event, and why not."""
    why = ", ".join(f"{channel}: {reason.replace('_', ' ')}" for channel, reason in suppressed.items())
    return f"no channel gets it ({why or 'there is none'})"


def _line(result: DeliveryResult) -> str:
    tries = f" at attempt {result.retry_count + 1}" if result.retry_count else ""
    if result.success:
        return click.style(f"delivered in {result.delivery_time_ms} ms{tries}", fg="green")
    if result.error == PENDING:
        return click.style("not delivered yet", fg="yellow")
    detail = brief((result.error or "").removeprefix(f"{result.reason}: "))
    why = result.reason if detail in {"", result.reason} else f"{result.reason}: {detail}"
    return click.style(f"failed{tries}: {why}", fg="red")


def _result(status: DeliveryStatus, channel: ChannelStatus) -> DeliveryResult:
    done = channel.state is DeliveryState.DONE
    error = f"{channel.reason}: {channel.error}".removesuffix(": ") if channel.state.final else PENDING
    ended = channel.finished or status.accepted
    return DeliveryResult(
        notification_id=status.notification_id,
        channel=channel.channel,
        success=done,
        timestamp=ended,
        error=None if done else error,
        retry_count=max(0, channel.attempts - 1),
        delivery_time_ms=round((ended - status.accepted).total_seconds() * 1000),
        reason=Reason(channel.reason) if channel.state.final and channel.reason else Reason.TIMEOUT,
    )
