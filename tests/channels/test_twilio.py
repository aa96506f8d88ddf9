"""Twilio's answers: every code of the table, and what a status says where there is none."""

import asyncio
from typing import Any

import msgspec
import pytest
from multidict import CIMultiDict

from knell.channels.answer import Answer
from knell.channels.http import Http
from knell.channels.twilio import OPTED_OUT, Failure, Price, Refused, Taken, Twilio, classify
from knell.config.schema import Security
from knell.lab import Lab, Respond
from knell.messages import Reason, Rejected, Retry, Scope, Unknown


def answer(status: int, body: Any, **headers: str) -> Answer:
    """Return an answer with a JSON body."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, CIMultiDict(names), msgspec.json.encode(body))


def error(code: int, status: int = 400, **headers: str) -> Answer:
    """Return an answer as Twilio writes its errors."""
    text = f"The requested resource /2010-04-01/Accounts/AC123/x was not found ({code})"
    more = f"https://www.twilio.com/docs/errors/{code}"
    return answer(status, {"code": code, "message": text, "more_info": more, "status": status}, **headers)


@pytest.mark.parametrize("code", [21211, 21614, 21610, 21408, 21608, 21612])
def test_codes_about_one_number(code: int) -> None:
    """The other numbers can still be reached."""
    refused = classify(error(code))
    assert isinstance(refused, Refused)
    assert refused.why.startswith(f"{code} ")


def test_an_opt_out_is_told_apart() -> None:
    """21610 is a legal stop."""
    assert classify(error(21610)) == Refused(OPTED_OUT)


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        (20003, 401, Reason.AUTHENTICATION),
        (20404, 404, Reason.CONFIGURATION),
        (21212, 400, Reason.CONFIGURATION),
        (21603, 400, Reason.CONFIGURATION),
        (21606, 400, Reason.CONFIGURATION),
        (21659, 400, Reason.CONFIGURATION),
        (21660, 400, Reason.CONFIGURATION),
        (21661, 400, Reason.CONFIGURATION),
    ],
)
def test_codes_about_the_channel(code: int, status: int, reason: Reason) -> None:
    """Account, token or sender are wrong: the message is innocent."""
    rejected = classify(error(code, status))
    assert isinstance(rejected, Rejected)
    assert rejected.reason is reason
    assert rejected.reason.scope is Scope.CHANNEL
    assert str(code) in rejected.detail


@pytest.mark.parametrize(("code", "reason"), [(21602, Reason.INVALID_MESSAGE), (21617, Reason.TOO_LARGE)])
def test_codes_about_the_message(code: int, reason: Reason) -> None:
    """No text, or too much: no number can get it."""
    rejected = classify(error(code))
    assert isinstance(rejected, Rejected)
    assert rejected.reason is reason
    assert rejected.reason.scope is Scope.MESSAGE


@pytest.mark.parametrize(
    ("given", "after"),
    [
        (error(20429, 429), None),
        (error(20429, 429, Retry_After="7"), 7.0),
        (error(21611, 429), 300.0),
        (error(21611, 400), 300.0),
        (error(21611, 429, Retry_After="20"), 20.0),
        (answer(429, "busy"), None),
    ],
)
def test_limits(given: Answer, after: float | None) -> None:
    """Twilio's wish wins; a full queue takes minutes."""
    retry = classify(given)
    assert isinstance(retry, Retry)
    assert (retry.reason, retry.after) == (Reason.RATE_LIMIT, after)


@pytest.mark.parametrize(
    ("given", "kind", "reason"),
    [
        (error(99999, 400), Rejected, Reason.INVALID_MESSAGE),
        (error(99999, 403), Rejected, Reason.AUTHENTICATION),
        (error(99999, 404), Rejected, Reason.CONFIGURATION),
        (error(99999, 429), Retry, Reason.RATE_LIMIT),
        (error(21610, 500), Retry, Reason.SERVER_ERROR),
        (answer(503, "down"), Retry, Reason.SERVER_ERROR),
        (answer(400, {"code": "21610"}), Rejected, Reason.INVALID_MESSAGE),
        (answer(302, ""), Rejected, Reason.CONFIGURATION),
        (answer(410, ""), Rejected, Reason.GONE),
    ],
)
def test_without_a_known_code_the_status_decides(given: Answer, kind: type[Failure], reason: Reason) -> None:
    """Codes may change (Twilio's changelog of 2024-07-10); a 5xx is the server's fault whatever it says."""
    outcome = classify(given)
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Taken | Refused)
    assert outcome.reason is reason


@pytest.mark.parametrize("code", [20003, 20404, 21606, 99999])
def test_twilios_own_words_are_not_repeated(code: int) -> None:
    """They hold the account SID."""
    outcome = classify(error(code, 404))
    assert "AC123" not in repr(outcome)


@pytest.mark.parametrize(
    ("body", "taken"),
    [
        ({"sid": "SM1", "num_segments": "2"}, Taken("SM1", 2)),
        ({"sid": "SM1", "num_segments": "0"}, Taken("SM1", 0)),
        ({"sid": "SM1", "num_segments": None}, Taken("SM1", 0)),
        ({"sid": "SM1", "num_segments": "9" * 5000}, Taken("SM1", 0)),
        ({"sid": "SM1"}, Taken("SM1", 0)),
    ],
)
def test_a_message_that_was_taken(body: dict[str, Any], taken: Taken) -> None:
    """201 with an id: queued."""
    assert classify(answer(201, body)) == taken


@pytest.mark.parametrize("body", ["ok", {}, {"sid": ""}, {"sid": 7}, [], None])
def test_a_success_that_cannot_be_read_is_unknown(body: Any) -> None:
    """The message may be queued; the next attempt looks for it."""
    outcome = classify(answer(201, body))
    assert isinstance(outcome, Unknown)
    assert outcome.detail


PRICES: list[tuple[dict[str, Any], Price | None]] = [
    ({"price": "-0.00790", "price_unit": "USD"}, Price(0.0079, "USD")),
    ({"price": "-0.09000", "price_unit": "usd"}, Price(0.09, "USD")),
    ({"price": "0", "price_unit": "USD"}, Price(0.0, "USD")),
    ({"price": None, "price_unit": "USD"}, None),
    ({"price": -0.0079, "price_unit": "USD"}, None),
    ({"price": "-nan", "price_unit": "USD"}, None),
    ({"price": "-1e300", "price_unit": "USD"}, None),
    ({"price": "-0.0079"}, None),
    ({"price": "-0.0079", "price_unit": "money"}, None),
]


@pytest.mark.parametrize(("resource", "price"), PRICES)
def test_prices(resource: dict[str, Any], price: Price | None) -> None:
    """A negative string, once there is one; anything else is no price."""
    with Lab(rate_limited=False) as lab:
        lab.twilio.script(Respond(200, {"sid": "SM1", **resource}))

        async def ask() -> Price | Failure | None:
            http = Http(Security.model_validate({"require_tls": False, "allowed_networks": ["127.0.0.0/8"]}))
            try:
                return await Twilio(http, lab.twilio.api_base_url, "AC1", "t").price("SM1", 20)
            finally:
                await http.close()

        assert asyncio.run(ask()) == price
