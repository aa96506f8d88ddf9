"""Twilio's Messages resource: what to ask, and what its answers mean (twilio.com/docs/api/errors)."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time
from typing import Any, cast
from urllib.parse import quote, urlencode

from knell.messages import Delivered, Reason, Rejected, Retry, Unknown

from .answer import Answer, by_status, failure
from .http import Http

QUEUE_FULL_AFTER = 300.0
"""Seconds of rest after 21611: a full queue drains by one segment a second (Twilio error page 21611)."""

CLOCK_SLACK = 30.0
"""Seconds Twilio's clock may be behind ours (ours): a message older than that is not the one in question."""

NO_JSON = "Twilio's answer is not the JSON it should be"

_REFUSALS = {
    21211: "not a valid number",
    21408: "its region is not enabled for the account",
    21608: "not verified, and this is a trial account",
    21610: "opted out with STOP",
    21612: "not reachable from the sender",
    21614: "not a mobile number",
}
"""Codes about one recipient: the others can still be reached."""

OPTED_OUT = f"21610 {_REFUSALS[21610]}"
"""What is noted of a number whose owner wants no messages: a legal matter (Twilio error page 21610)."""

_FAILURES = {
    20003: (
        Reason.AUTHENTICATION,
        "account_sid and auth_token do not fit; copy both from the Console",
    ),
    20404: (Reason.CONFIGURATION, "there is no such account or messaging service; check account_sid"),
    21212: (Reason.CONFIGURATION, "from_number is not a valid number; write + and the country code"),
    21602: (Reason.INVALID_MESSAGE, "the text is empty"),
    21603: (Reason.CONFIGURATION, "there is no sender; set from_number"),
    21606: (Reason.CONFIGURATION, "from_number is none of the account's numbers; buy it, or verify it"),
    21617: (Reason.TOO_LARGE, "the text is over 1,600 characters"),
    21659: (Reason.CONFIGURATION, "from_number is none of the account's numbers; buy it, or verify it"),
    21660: (Reason.CONFIGURATION, "from_number belongs to another account"),
    21661: (Reason.CONFIGURATION, "from_number cannot send text messages; buy one that can"),
}
_ACTIVE = "active"
_PRICE = re.compile(r"-?[0-9]{1,6}(\.[0-9]{1,9})?")
_CURRENCY = re.compile("[A-Z]{3}")
_LIMITS = {20429: None, 21611: QUEUE_FULL_AFTER}


@dataclass(frozen=True, slots=True)
class Taken:
    """Twilio has the message. `segments` is 0 while Twilio does not know."""

    sid: str
    segments: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """What a message did cost: never negative, although Twilio writes it so."""

    amount: float
    currency: str


@dataclass(frozen=True, slots=True)
class Refused:
    """This number cannot get it; others can."""

    why: str


Failure = Retry | Rejected | Unknown
"""What ends an attempt for all numbers that are left."""


class Twilio:
    """One account."""

    def __init__(self, http: Http, api_base_url: str, account_sid: str, auth_token: str) -> None:
        self._http = http
        self._account = f"{api_base_url.rstrip('/')}/2010-04-01/Accounts/{account_sid}"
        self._auth = (account_sid, auth_token)

    async def create(self, form: Mapping[str, str], seconds: float) -> Taken | Refused | Failure:
        """Hand in one message."""
        answer = await self._http.post(
            f"{self._account}/Messages.json", form=form, auth=self._auth, timeout=seconds
        )
        return classify(answer) if isinstance(answer, Answer) else answer

    async def find(
        self, number: str, body: str, since: float, others: Collection[str], seconds: float
    ) -> Taken | Failure | None:
        """Look for a message that may have been taken; None when it was not.

        Args:
            number: whom it was for.
            body: its text.
            since: when it was sent at the earliest, Unix seconds.
            others: ids of messages known to be others, which may say the same.
            seconds: time for the answer.
        """
        answer = await self._get(f"/Messages.json?{urlencode({'To': number})}", seconds)
        if not isinstance(answer, Answer):
            return answer
        for message in _objects(answer.json_object().get("messages")):
            taken = _taken(message)
            if taken and taken.sid not in others and _is(message, number, body, since):
                return taken
        return None

    async def price(self, sid: str, seconds: float) -> Price | Failure | None:
        """Ask what a message did cost; None while Twilio does not know."""
        answer = await self._get(f"/Messages/{quote(sid, safe='')}.json", seconds)
        if not isinstance(answer, Answer):
            return answer
        said = answer.json_object()
        amount, currency = said.get("price"), str(said.get("price_unit")).upper()
        if not isinstance(amount, str) or _PRICE.fullmatch(amount) is None:
            return None
        return Price(abs(float(amount)), currency) if _CURRENCY.fullmatch(currency) else None

    async def check(self, seconds: float) -> Failure | None:
        """Say what is wrong with the account; nothing is sent."""
        answer = await self._get(".json", seconds)
        if not isinstance(answer, Answer):
            return answer
        status = answer.json_object().get("status", _ACTIVE)
        if status == _ACTIVE:
            return None
        what = status if status in {"suspended", "closed"} else "not active"
        return Rejected(Reason.CONFIGURATION, f"the account is {what}: see the Twilio Console")

    async def _get(self, path: str, seconds: float) -> Answer | Failure:
        answer = await self._http.request("GET", self._account + path, auth=self._auth, timeout=seconds)
        if not isinstance(answer, Answer) or (answer.ok and answer.json_object()):
            return answer
        # What was only looked at leaves no doubt behind.
        found = classify(answer)
        return found if isinstance(found, Retry | Rejected) else Retry(Reason.SERVER_ERROR, detail=NO_JSON)


def classify(answer: Answer) -> Taken | Refused | Failure:
    """Say what the answer to a new message means: by Twilio's code, else by the status."""
    outcome, said = by_status(answer, service="Twilio"), answer.json_object()
    if isinstance(outcome, Delivered):
        return _taken(said) or Unknown(Reason.SERVER_ERROR, NO_JSON)
    code = said.get("code")
    if not isinstance(code, int) or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return outcome
    if code in _REFUSALS:
        return Refused(f"{code} {_REFUSALS[code]}")
    if code in _LIMITS:
        after = answer.retry_after(time()) or _LIMITS[code]
        return Retry(Reason.RATE_LIMIT, after, f"Twilio error {code}: over a rate limit")
    reason, words = _FAILURES.get(code, (outcome.reason, outcome.detail))
    return failure(reason, f"Twilio error {code}: {words}", answer.retry_after(time()))


def _taken(message: Mapping[str, Any]) -> Taken | None:
    sid, count = message.get("sid"), str(message.get("num_segments") or "")
    if not isinstance(sid, str) or not sid:
        return None
    return Taken(sid, int(count) if re.fullmatch("[0-9]{1,3}", count) else 0)


def _is(message: Mapping[str, Any], number: str, body: str, since: float) -> bool:
    try:
        created = parsedate_to_datetime(str(message.get("date_created"))).timestamp()
    except (ValueError, OverflowError):
        return False
    # A trial account puts words of its own before the text.
    same = message.get("to") == number and str(message.get("body")).endswith(body)
    return same and created > since - CLOCK_SLACK


def _objects(value: Any) -> list[dict[str, Any]]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]
