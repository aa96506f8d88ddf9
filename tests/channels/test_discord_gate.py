"""The gate before Discord, without Discord."""

import gc
from typing import Any, cast
from weakref import ref

import pytest

from knell.channels.discord_gate import (
    FIRST_GUESS,
    INVALID_SECONDS,
    STOP_AT,
    UNTOLD_SECONDS,
    Closed,
    Gate,
    Limits,
    Route,
    gate_of,
)
from knell.channels.http import Http
from knell.config.schema import Security

POST, PATCH = Route("w", "POST"), Route("w", "PATCH")
OTHER = Route("v", "POST")


def told(remaining: int, reset_after: float = 2.0, limit: int = 5, bucket: str = "b") -> Limits:
    """What the headers of an answer say."""
    return Limits(bucket=bucket, limit=limit, remaining=remaining, reset_after=reset_after)


def once(gate: Gate, route: Route, limits: Limits, now: float = 0.0) -> None:
    """One request, with its answer."""
    assert gate.enter(route, now) is None
    gate.leave(route, limits, now)


def test_an_empty_bucket_closes_until_it_is_reset() -> None:
    """At nothing left the next request waits as long as the answer said, to the moment, and no other one."""
    gate = Gate()
    once(gate, POST, told(0, 1.75), now=100.0)
    closed = gate.enter(POST, 101.0)
    assert closed == Closed(0.75, "the webhook's requests are used up for now")
    assert gate.wait(POST, 101.0) == 0.75
    assert gate.enter(OTHER, 101.0) is None
    assert gate.enter(POST, 101.75) is None


def test_what_is_left_goes_at_once() -> None:
    """Nothing waits while something is left."""
    gate = Gate()
    for left in (4, 3, 2, 1):
        once(gate, POST, told(left))
    assert gate.wait(POST, 0.0) == 0.0
    once(gate, POST, told(0))
    assert gate.wait(POST, 0.0) == 2.0


def test_requests_under_way_are_counted() -> None:
    """What may be on the wire before an answer has come back is what the window is thought to hold."""
    gate = Gate()
    assert [gate.enter(POST, 0.0) for _ in range(FIRST_GUESS)] == [None] * FIRST_GUESS
    full = gate.enter(POST, 0.0)
    assert full is not None
    assert full.seconds == UNTOLD_SECONDS
    gate.leave(POST, told(4), 0.5)
    # Four are left by the answer, and four are under way.
    assert gate.wait(POST, 0.5) == 2.0
    for _ in range(4):
        gate.leave(POST, Limits(), 0.6)
    assert gate.enter(POST, 2.5) is None


def test_the_limit_is_learned() -> None:
    """The number of requests in a window is Discord's, in the next window too."""
    gate = Gate()
    once(gate, POST, told(0, limit=2), now=0.0)
    assert [gate.enter(POST, 3.0) is None for _ in range(3)] == [True, True, False]


def test_an_answer_without_headers_changes_nothing() -> None:
    """A failure of transport tells nothing about the bucket, and frees its place on the wire."""
    gate = Gate()
    for _ in range(3 * FIRST_GUESS):
        once(gate, POST, Limits())
    once(gate, POST, told(0))
    assert gate.wait(POST, 0.0) == 2.0


def test_routes_of_one_bucket_share_it() -> None:
    """Discord's name for a bucket says what is counted together, within one webhook."""
    gate = Gate()
    once(gate, POST, told(3, bucket="x"))
    once(gate, PATCH, told(0, bucket="x"))
    assert gate.wait(POST, 0.0) == 2.0
    once(gate, OTHER, told(4, bucket="x"))
    assert gate.wait(OTHER, 0.0) == 0.0


def test_a_route_that_joins_a_bucket_brings_what_it_has_under_way() -> None:
    """The requests that are on the wire while the name is learned stay counted."""
    gate = Gate()
    once(gate, POST, told(3, bucket="x"))
    assert gate.enter(PATCH, 0.0) is None
    assert gate.enter(PATCH, 0.0) is None
    gate.leave(PATCH, told(1, bucket="x"), 0.0)
    assert gate.wait(POST, 0.0) == 2.0
    gate.leave(PATCH, told(1, bucket="x"), 0.0)
    assert gate.wait(POST, 0.0) == 0.0


def _tables(gate: Gate) -> list[dict[Any, Any]]:
    return [cast("dict[Any, Any]", part) for part in vars(gate).values() if isinstance(part, dict)]


def test_names_that_change_fill_no_memory() -> None:
    """An answer that names a new bucket every time leaves nothing behind, and its numbers count."""
    gate = Gate()
    sizes: set[int] = set()
    for number in range(100):
        once(gate, POST, told(3, bucket=f"b{number}"))
        sizes.add(sum(len(part) for part in _tables(gate)))
    assert len(sizes) == 1
    once(gate, POST, told(0, bucket="last"))
    assert gate.wait(POST, 0.0) == 2.0


def test_a_refusal_empties_the_bucket() -> None:
    """A 429 of one webhook closes it for as long as it says, and only it."""
    gate = Gate()
    once(gate, POST, Limits(wait=3.0, remaining=4, reset_after=1.0))
    assert (gate.wait(POST, 0.0), gate.wait(OTHER, 0.0)) == (3.0, 0.0)


def test_a_global_limit_closes_all() -> None:
    """A global 429 closes every webhook; a shorter one after it ends nothing earlier."""
    gate = Gate()
    assert gate.enter(OTHER, 0.0) is None
    once(gate, POST, Limits(wait=5.0, everywhere=True))
    gate.leave(OTHER, Limits(wait=1.0, everywhere=True), 1.0)
    closed = gate.enter(Route("new", "GET"), 2.0)
    assert closed == Closed(3.0, "Discord limits all webhooks of this address")
    assert gate.enter(POST, 5.0) is None


def test_too_many_refused_requests_stop_everything() -> None:
    """At 1,000 in ten minutes nothing goes for ten minutes; then the count begins anew."""
    gate = Gate()
    for number in range(STOP_AT):
        once(gate, POST, Limits(invalid=True), now=number / 10)
    last = (STOP_AT - 1) / 10
    closed = gate.enter(OTHER, last + 1)
    assert closed is not None
    assert (closed.alarming, closed.seconds) == (True, INVALID_SECONDS - 1)
    assert "1000 requests within ten minutes" in closed.why
    once(gate, OTHER, Limits(invalid=True), now=last + INVALID_SECONDS)
    assert gate.enter(POST, last + INVALID_SECONDS) is None


def test_old_refusals_are_forgiven() -> None:
    """Refusals spread over more than ten minutes stop nothing."""
    gate = Gate()
    for number in range(3 * STOP_AT):
        once(gate, POST, Limits(invalid=True), now=number * 0.625)
    assert STOP_AT * 0.625 > INVALID_SECONDS


def test_unasked_leaving_does_no_harm() -> None:
    """The count of what is under way never falls below nothing."""
    gate = Gate()
    gate.leave(POST, told(1), 0.0)
    assert gate.enter(POST, 0.0) is None
    assert gate.wait(POST, 0.0) == 2.0


def test_one_gate_per_client() -> None:
    """Channels of one system share a gate, systems do not, and a closed system leaves none behind."""
    first, second = Http(Security()), Http(Security())
    assert gate_of(first) is gate_of(first)
    gate = ref(gate_of(second))
    assert gate() is not gate_of(first)
    del second
    gc.collect()
    assert gate() is None


@pytest.mark.parametrize("now", [0.0, 1e9, -5.0])
def test_a_fresh_gate_is_open(now: float) -> None:
    """Whatever a monotonic clock begins with."""
    assert Gate().wait(POST, now) == 0.0
