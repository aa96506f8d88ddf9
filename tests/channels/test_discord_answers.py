"""Every answer of Discord's, given by the lab over a socket, and what the channel makes of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from knell.channels.answer import Answer
from knell.channels.discord_answers import CLOUDFLARE_SECONDS, limits_of
from knell.channels.discord_gate import STOP_AT, Limits, gate_of
from knell.channels.memory import Scratch
from knell.lab import Drop, Respond, cloudflare, too_many
from knell.messages import Delivered, Outcome, Reason, Rejected, Retry, Scope, Unknown
from tests.channels.discord_bench import Bench, message

HOUR = 3600.0


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Discord channels and the lab."""
    with Bench() as running:
        yield running


def error(status: int, code: int = 0) -> Respond:
    """What Discord says to a request it refuses."""
    return Respond(status, {"message": "CANARY", **({"code": code} if code else {})})


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (error(400, 50035), Rejected, Reason.INVALID_MESSAGE),
        (error(400, 50006), Rejected, Reason.INVALID_MESSAGE),
        (error(400, 220001), Rejected, Reason.CONFIGURATION),
        (error(400, 220002), Rejected, Reason.CONFIGURATION),
        (error(400, 220003), Rejected, Reason.CONFIGURATION),
        (error(400, 40067), Rejected, Reason.CONFIGURATION),
        (error(400, 50083), Rejected, Reason.CONFIGURATION),
        (error(400, 12345), Rejected, Reason.INVALID_MESSAGE),
        (error(413, 40005), Rejected, Reason.TOO_LARGE),
        (error(413), Rejected, Reason.TOO_LARGE),
        (error(401, 50027), Rejected, Reason.AUTHENTICATION),
        (error(401), Rejected, Reason.AUTHENTICATION),
        (error(403, 50013), Rejected, Reason.AUTHENTICATION),
        (error(403), Rejected, Reason.AUTHENTICATION),
        (Respond(403, "<html>CANARY</html>"), Rejected, Reason.AUTHENTICATION),
        (error(404, 10015), Rejected, Reason.GONE),
        (error(404, 10003), Rejected, Reason.CONFIGURATION),
        (error(404), Rejected, Reason.CONFIGURATION),
        (Respond(404, "<html>CANARY</html>"), Rejected, Reason.CONFIGURATION),
        (Respond(404, {"code": "10015"}), Rejected, Reason.CONFIGURATION),
        (Respond(404, {"code": True}), Rejected, Reason.CONFIGURATION),
        (error(410), Rejected, Reason.GONE),
        (error(302), Rejected, Reason.CONFIGURATION),
        (error(429), Retry, Reason.RATE_LIMIT),
        (error(429, 20016), Retry, Reason.RATE_LIMIT),
        (error(429, 20028), Retry, Reason.RATE_LIMIT),
        (error(429, 20029), Retry, Reason.RATE_LIMIT),
        (error(429, 40062), Retry, Reason.RATE_LIMIT),
        (error(429, 30046), Retry, Reason.RATE_LIMIT),
        (error(403, 20028), Retry, Reason.RATE_LIMIT),
        (error(408), Retry, Reason.TIMEOUT),
        (error(500), Retry, Reason.SERVER_ERROR),
        (error(502), Retry, Reason.SERVER_ERROR),
        (error(503), Retry, Reason.SERVER_ERROR),
        (error(504), Retry, Reason.SERVER_ERROR),
        (Respond(200, ""), Unknown, Reason.SERVER_ERROR),
        (Respond(200, '{"id": '), Unknown, Reason.SERVER_ERROR),
        (Respond(200, "{}"), Unknown, Reason.SERVER_ERROR),
        (Respond(200, {"id": "1"}), Unknown, Reason.SERVER_ERROR),
        (Respond(200, {"id": "../1", "channel_id": "1"}), Unknown, Reason.SERVER_ERROR),
        (Drop(stored=True), Unknown, Reason.CONNECTION_ERROR),
    ],
)
def test_every_answer_has_its_class(bench: Bench, fault: Any, kind: type[Outcome], reason: Reason) -> None:
    """The code decides, without one the status; no text is quoted, and nothing is sent twice."""
    bench.lab.discord.script(fault)
    outcome = bench.send(bench.channel(), message())
    assert type(outcome) is kind
    assert not isinstance(outcome, Delivered)
    assert outcome.reason is reason
    assert "CANARY" not in repr(outcome)
    assert len(bench.lab.discord.requests) == 1


def test_success_carries_the_reference(bench: Bench) -> None:
    """200 comes with the message's id and its channel."""
    outcome = bench.send(bench.channel(), message())
    (posted,) = bench.lab.discord.messages
    assert isinstance(outcome, Delivered)
    assert outcome.receipt["id"] == posted.id
    assert outcome.receipt["channel_id"].isdecimal()


def test_204_is_taken(bench: Bench) -> None:
    """Where `wait` was lost on the way it is delivered as far as anybody can say."""
    bench.lab.discord.script(Respond(204))
    assert bench.send(bench.channel(), message()) == Delivered(
        None, "Discord answered 204, without a reference"
    )


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (220001, "set thread_name"),
        (220003, "remove thread_name"),
        (10003, "thread_id"),
        (40067, "demands a tag"),
        (50027, "copy the address again"),
        (10015, "make a new one"),
    ],
)
def test_errors_of_the_set_up_name_the_fix(bench: Bench, code: int, fix: str) -> None:
    """Who reads the alert knows what to do."""
    bench.lab.discord.script(error(400, code))
    outcome = bench.send(bench.channel(), message())
    assert isinstance(outcome, Rejected)
    assert outcome.detail.startswith(f"Discord answered 400 with code {code}: ")
    assert fix in outcome.detail


def test_a_deleted_webhook_is_never_called_again(bench: Bench) -> None:
    """After 10015 nothing goes there any more, not even by a channel that starts anew with its memory."""
    memory = Scratch()
    address = bench.lab.discord.url
    bench.lab.discord.revoke()
    for _ in range(3):
        outcome = bench.send(bench.channel(address, memory=memory), message())
        assert isinstance(outcome, Rejected)
        assert outcome.reason is Reason.GONE
    assert len(bench.lab.discord.requests) == 1
    assert bench.lab.discord.violations == ()


def test_a_new_address_is_another_webhook(bench: Bench) -> None:
    """That one webhook is gone says nothing about the one that took its place."""
    memory = Scratch()
    bench.lab.discord.script(error(404, 10015))
    assert isinstance(bench.send(bench.channel(memory=memory), message()), Rejected)
    new = bench.channel(bench.lab.discord.add_webhook(), memory=memory)
    assert isinstance(bench.send(new, message()), Delivered)


# Limits


def test_nothing_is_left_is_told_with_the_success(bench: Bench) -> None:
    """The fifth answer says that nothing is left, and the channel passes the wait on: no 429 ever happens."""
    channel = bench.channel()
    outcomes = [bench.send(channel, message(str(number))) for number in range(5)]
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    pauses = [outcome.pause for outcome in outcomes if isinstance(outcome, Delivered)]
    assert pauses == [None, None, None, None, 2.0]


def test_who_comes_too_early_is_turned_away_here(bench: Bench) -> None:
    """A send before the reset ends as a limit, without a request; at the reset it goes."""
    channel = bench.channel()
    for number in range(5):
        bench.send(channel, message(str(number)))
    bench.clock.advance(0.5)
    held = Retry(Reason.RATE_LIMIT, 1.5, "the webhook's requests are used up for now")
    assert bench.send(channel, message("6")) == held
    assert bench.send(bench.channel(), message("7")) == held  # another section for the same webhook
    assert len(bench.lab.discord.requests) == 5
    bench.clock.advance(1.5)
    assert isinstance(bench.send(channel, message("6")), Delivered)


def test_another_webhook_has_its_own_bucket(bench: Bench) -> None:
    """A webhook that is used up holds up no other."""
    channel, other = bench.channel(), bench.channel(bench.lab.discord.add_webhook())
    for number in range(5):
        bench.send(channel, message(str(number)))
    assert isinstance(bench.send(other, message()), Delivered)


@pytest.mark.parametrize(
    ("fault", "after"),
    [
        (too_many(0.3, header=2), 2.0),
        (too_many(4.25, header=1), 4.25),
        (too_many(4.25), 5.0),
        (too_many(0.01, header=0), 1.0),
        (too_many(1e9, header=1), HOUR),
        (Respond(429, {"retry_after": 4.25}), 4.25),
        (Respond(429, {"retry_after": True}), None),
        (Respond(429, {"retry_after": "soon"}), None),
        (Respond(429, {"message": "slow"}, {"Retry-After": "7"}), 7.0),
        (Respond(429, {"message": "slow"}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), 1.0),
        (cloudflare(), CLOUDFLARE_SECONDS),
        (Respond(429, "<html>", {"Retry-After": "90"}), 90.0),
    ],
)
def test_the_longer_hint_counts(bench: Bench, fault: Respond, after: float | None) -> None:
    """Header and JSON of a 429 disagree now and then; both are kept within a second and an hour."""
    bench.lab.discord.script(fault)
    outcome = bench.send(bench.channel(), message())
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.after) == (Reason.RATE_LIMIT, after)


@pytest.mark.parametrize(("fault", "after"), [(too_many(3, everywhere=True), 3.0), (cloudflare(), 60.0)])
def test_a_global_limit_holds_every_channel(bench: Bench, fault: Respond, after: float) -> None:
    """Other sections hold their breath without a request of their own; channels of another system do not."""
    bench.lab.discord.script(fault)
    outcome = bench.send(bench.channel(), message())
    assert outcome == Retry(Reason.RATE_LIMIT, after, "Discord answered 429, for every webhook")
    other = bench.channel(bench.lab.discord.add_webhook())
    bench.clock.advance(1)
    held = bench.send(other, message())
    assert held == Retry(Reason.RATE_LIMIT, after - 1, "Discord limits all webhooks of this address")
    assert len(bench.lab.discord.requests) == 1
    bench.clock.advance(after - 1)
    assert isinstance(bench.send(other, message()), Delivered)
    assert bench.lab.discord.violations == ()


def test_a_limit_of_one_webhook_holds_no_other(bench: Bench) -> None:
    """Also one that is shared with strangers."""
    bench.lab.discord.script(too_many(3, scope="shared"))
    channel = bench.channel()
    assert isinstance(bench.send(channel, message()), Retry)
    assert isinstance(bench.send(channel, message()), Retry)
    assert len(bench.lab.discord.requests) == 1
    assert isinstance(bench.send(bench.channel(bench.lab.discord.add_webhook()), message()), Delivered)


@pytest.mark.parametrize("status", [401, 403, 429])
def test_all_sending_stops_long_before_the_ban(bench: Bench, status: int) -> None:
    """Refused requests are counted over all channels; at 1,000 nothing goes, and people are told why."""
    gate = gate_of(bench.http)
    invalid = limits_of(Answer(status, {}, b'{"retry_after": 1}'), 0)
    channel = bench.channel()
    route = channel.webhook.route("POST")
    for _ in range(STOP_AT - 1):
        gate.leave(route, Limits(invalid=invalid.invalid), bench.clock())
    bench.lab.discord.script(error(401, 50027))
    assert isinstance(bench.send(channel, message()), Rejected)
    stopped = bench.send(bench.channel(bench.lab.discord.add_webhook()), message())
    assert isinstance(stopped, Rejected)
    assert stopped.reason.scope is Scope.CHANNEL
    assert stopped.detail.startswith("knell stopped by itself: Discord refused 1000 requests")
    assert len(bench.lab.discord.requests) == 1


RATE = {
    "X-RateLimit-Limit": "5",
    "X-RateLimit-Remaining": "0",
    "X-RateLimit-Reset": "1470173023.123",
    "X-RateLimit-Reset-After": "1.25",
    "X-RateLimit-Bucket": "abcd",
}


@pytest.mark.parametrize(
    ("status", "headers", "body", "limits"),
    [
        (200, {}, "{}", Limits()),
        (200, RATE, "{}", Limits("abcd", 5, 0, 1.25)),
        (200, RATE | {"X-RateLimit-Reset-After": "x"}, "{}", Limits("abcd", 5, 0, 2.123)),
        (200, RATE | {"X-RateLimit-Reset-After": "-1"}, "{}", Limits("abcd", 5, 0, 2.123)),
        (200, {"X-RateLimit-Reset": "9"}, "{}", Limits(reset_after=0)),
        (200, RATE | {"X-RateLimit-Reset-After": "1e9"}, "{}", Limits("abcd", 5, 0, HOUR)),
        (200, {"X-RateLimit-Remaining": "nan", "X-RateLimit-Limit": "inf"}, "{}", Limits()),
        (401, {}, "{}", Limits(invalid=True)),
        (403, {}, "{}", Limits(invalid=True)),
        (404, {}, "{}", Limits()),
        (429, {"Retry-After": "2"}, '{"global": false}', Limits(wait=2, invalid=True)),
        (429, {}, '{"global": false}', Limits(wait=1, invalid=True)),
        (429, {"X-RateLimit-Scope": "shared"}, '{"retry_after": 2}', Limits(wait=2)),
        (429, {}, '{"retry_after": 2, "global": true}', Limits(wait=2, everywhere=True, invalid=True)),
        (429, {"X-RateLimit-Scope": "global"}, '{"a": 1}', Limits(wait=1, everywhere=True, invalid=True)),
        (429, {"X-RateLimit-Global": "true"}, '{"a": 1}', Limits(wait=1, everywhere=True, invalid=True)),
        (429, {}, "<html>", Limits(wait=60, everywhere=True, invalid=True)),
    ],
)
def test_what_an_answer_says_about_the_next(
    status: int, headers: dict[str, str], body: str, limits: Limits
) -> None:
    """Numbers with decimals are numbers, the rest is preferred to the end, and nonsense says nothing."""
    found = limits_of(Answer(status, headers, body.encode()), 1470173021.0)
    assert found.reset_after == pytest.approx(limits.reset_after)
    assert Limits(found.bucket, found.limit, found.remaining, limits.reset_after, *_rest(found)) == limits


def _rest(found: Limits) -> tuple[float, bool, bool]:
    return found.wait, found.everywhere, found.invalid


# Health


def test_a_healthy_webhook_says_where_it_is(bench: Bench) -> None:
    """Nothing is posted to find that out."""
    health = bench.check(bench.channel())
    assert (health.healthy, health.detail.split(" of ")[0]) == (True, "webhook lab")
    (request,) = bench.lab.discord.requests
    assert (request.method, bench.lab.discord.messages) == ("GET", ())


@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        (error(404, 10015), "the webhook was deleted"),
        (error(401, 50027), "copy the address again"),
        (error(500), "Discord answered 500"),
        (too_many(2), "Discord answered 429"),
        (Drop(), "server disconnected"),
    ],
)
def test_an_unhealthy_webhook_says_why(bench: Bench, fault: Any, detail: str) -> None:
    """In plain words, without its address."""
    bench.lab.discord.down(fault)
    health = bench.check(bench.channel())
    assert not health.healthy
    assert detail in health.detail
    assert "webhooks/" not in health.detail


def test_a_look_that_succeeds_forgives(bench: Bench) -> None:
    """A webhook that Discord knows again is used again."""
    channel = bench.channel()
    bench.lab.discord.script(error(404, 10015))
    assert isinstance(bench.send(channel, message()), Rejected)
    assert bench.check(channel).healthy
    assert isinstance(bench.send(channel, message()), Delivered)
