"""Twilio's Messages resource: accepts, refuses by number, and reports later how it ended."""

import base64
import re
import secrets
from collections.abc import Iterable
from email.utils import format_datetime
from http import HTTPStatus
from random import Random
from typing import Any

from knell.lab import bodies
from knell.lab.callbacks import post_callbacks
from knell.lab.limits import Bucket
from knell.lab.record import Answer, Message, Request
from knell.lab.segments import segments, smart_encoded
from knell.lab.server import HttpStandIn, as_json
from knell.lab.standin import Setting
from knell.lab.twilio_forms import FINAL, answer_form, signature, status_form
from knell.lab.twilio_rules import SENDER, TwilioError, check

RATE = 100
"""Requests a second of one account before 20429; Twilio's own number depends on the account (ours)."""

PRICE = "-0.00790"
"""What a segment costs in the answers: a negative string, as Twilio has it (the amount is ours)."""

_PATH = re.compile(r"/2010-04-01/Accounts/(?P<account>\w+)(?:/Messages(?:/(?P<sid>SM\w+))?)?\.json")


class Twilio(HttpStandIn):
    """An account with one number and one messaging service.

    Attributes:
        account_sid, auth_token: the credentials; `api_key` and `api_secret` are accepted as well.
        account_status: active, suspended or closed.
        numbers: the account's own numbers, valid as `From`.
        service_sid: its messaging service.
    """

    name = "twilio"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.account_sid = f"AC{secrets.token_hex(16)}"
        self.auth_token = secrets.token_hex(16)
        self.api_key = f"SK{secrets.token_hex(16)}"
        self.api_secret = secrets.token_hex(16)
        self.service_sid = f"MG{secrets.token_hex(16)}"
        self.account_status = "active"
        self.numbers = {SENDER}
        self._stopped: set[str] = set()
        self._told: set[str] = set()
        self._resources: dict[str, dict[str, Any]] = {}
        self._callbacks: dict[str, str] = {}
        self._rate = Bucket(RATE, RATE, setting.clock)

    @property
    def url(self) -> str:
        """The address messages are posted to."""
        return f"{self.base_url}/2010-04-01/Accounts/{self.account_sid}/Messages.json"

    @property
    def api_base_url(self) -> str:
        """The root of the API."""
        return self.base_url

    def section(self) -> dict[str, Any]:
        """Return a channel section."""
        return {
            "type": "sms",
            "provider": "twilio",
            "account_sid": self.account_sid,
            "auth_token": self.auth_token,
            "from_number": SENDER,
            "to_numbers": ["+819012345678"],
            "api_base_url": self.api_base_url,
        }

    def opt_out(self, number: str) -> None:
        """The owner of the number sent STOP: 21610 from now on."""
        self._stopped.add(number)

    def opt_in(self, number: str) -> None:
        """The owner of the number sent START."""
        self._stopped.discard(number)
        self._told.discard(number)

    def settle(self, sid: str, status: str = "delivered", error_code: int | None = None) -> None:
        """Let a message end: `GET` shows status, error code and, if it was sent, its price."""
        resource = self._resources[sid]
        count = segments(resource["body"], resource["from"] or "")
        resource |= {"status": status, "error_code": error_code, "num_segments": str(count)}
        if status in FINAL and error_code is None:
            resource |= {"price": f"{float(PRICE) * count:.5f}", "date_sent": format_datetime(self.now())}

    def call_back(
        self, sid: str, statuses: Iterable[str], error_code: int | None = None, *, dice: Random | None = None
    ) -> list[int]:
        """Post signed status callbacks, and return the statuses they were answered with.

        Blocks, so call it on a thread of your own. They come in just this order; with dice each comes twice,
        and in any order, as in a bad hour of the network. Fields that Twilio may add some day are there.

        Raises:
            ValueError: the message named no callback, or one that is not on this machine.
        """
        each = list(statuses)
        if dice is not None:
            each *= 2
            dice.shuffle(each)
        forms = [status_form(self._resources[sid], status, error_code) for status in each]
        return self._post(self._callbacks.get(sid, ""), forms)

    def answer_back(self, url: str, number: str, text: str, *, to: str = SENDER, kind: str = "") -> int:
        """Post what the owner of a number answers to the messaging webhook; return the status.

        A STOP and a START count here as well. Blocks, as `call_back` does.

        Args:
            url: the webhook.
            number: whose phone it is.
            text: what they wrote.
            to: our number, which they wrote to.
            kind: the word of Advanced Opt-Out that the text stands for: STOP, START or HELP.

        Raises:
            ValueError: the webhook is not on this machine.
        """
        word = (kind or text).strip().upper()
        if word == "STOP":
            self.opt_out(number)
        elif word == "START":
            self.opt_in(number)
        (status,) = self._post(url, [answer_form(self.account_sid, number, text, to, kind)])
        return status

    def signature(self, url: str, form: dict[str, str]) -> str:
        """Return `X-Twilio-Signature` for a form posted to a URL."""
        return signature(self.auth_token, url, form)

    def _post(self, url: str, forms: list[dict[str, str]]) -> list[int]:
        return post_callbacks(url, [(form, self.signature(url, form)) for form in forms])

    def answer(self, request: Request) -> Answer:
        """Check credentials and account, then do what is asked."""
        try:
            found = self._authorised(request)
            if request.method == "GET":
                return as_json(HTTPStatus.OK, self._read(request, found["sid"]))
            return as_json(HTTPStatus.CREATED, self._create(request))
        except TwilioError as error:
            body = {
                "code": error.code,
                "message": str(error),
                "more_info": f"https://www.twilio.com/docs/errors/{error.code}",
                "status": int(error.status),
            }
            return as_json(error.status, body, f"{error.code}: {error}")

    def _authorised(self, request: Request) -> re.Match[str]:
        known = {(self.account_sid, self.auth_token), (self.api_key, self.api_secret)}
        if _credentials(request) not in known:
            raise TwilioError(20003, "Authenticate", HTTPStatus.UNAUTHORIZED)
        found = _PATH.fullmatch(request.path)
        if found is None or found["account"] != self.account_sid:
            text = f"The requested resource {request.path} was not found"
            raise TwilioError(20404, text, HTTPStatus.NOT_FOUND)
        return found

    def _create(self, request: Request) -> dict[str, Any]:
        if request.method != "POST" or not request.path.endswith("/Messages.json"):
            raise TwilioError(20004, "Method not allowed", HTTPStatus.METHOD_NOT_ALLOWED)
        if self.rate_limited and self._rate.take(self.account_sid):
            raise TwilioError(20429, "Too Many Requests", HTTPStatus.TOO_MANY_REQUESTS)
        kind = request.headers.get("Content-Type", "")
        form = bodies.form(request.body) if kind.startswith("application/x-www-form-urlencoded") else {}
        self._check_consent(form.get("To", ""))
        try:
            check(form, self.numbers, self.service_sid)
        except TwilioError as error:
            if error.code == 21610:  # noqa: PLR2004 - the code of an opt-out
                self._told.add(form.get("To", ""))
            raise
        return self._accept(form)

    def _check_consent(self, number: str) -> None:
        if number in self._told:
            self.violate(f"{number} had opted out (21610) and got another message")
        if number in self._stopped:
            self._told.add(number)
            raise TwilioError(21610, "Attempt to send to unsubscribed recipient")

    def _accept(self, form: dict[str, str]) -> dict[str, Any]:
        resource = self._resource(form)
        sid, body = str(resource["sid"]), str(resource["body"])
        self._resources[sid] = resource
        self._callbacks[sid] = form.get("StatusCallback", "")
        message = Message(
            provider=self.name,
            id=sid,
            keys=(f"{form['To']} {body}",),
            received=self.now(),
            at=self.setting.clock(),
            payload=form,
            text=body,
            title=body.partition("\n")[0],
            to=(form["To"],),
        )
        self.accept(message)
        return dict(resource)

    def _resource(self, form: dict[str, str]) -> dict[str, Any]:
        sid, date = f"SM{secrets.token_hex(16)}", format_datetime(self.now())
        service = form.get("MessagingServiceSid")
        sender = None if service else form["From"]
        smart = form.get("SmartEncoded", "").lower() == "true"
        body = smart_encoded(form["Body"]) if smart else form["Body"]
        return {
            "sid": sid,
            "account_sid": self.account_sid,
            "api_version": "2010-04-01",
            "body": body,
            "date_created": date,
            "date_updated": date,
            "date_sent": None,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": sender,
            "messaging_service_sid": service,
            "num_media": "0",
            # A messaging service picks the sender later, so nothing is known yet.
            "num_segments": "0" if service else str(segments(body, sender or "")),
            "price": None,
            "price_unit": "USD",
            "status": "accepted" if service else "queued",
            "to": form["To"],
            "uri": f"/2010-04-01/Accounts/{self.account_sid}/Messages/{sid}.json",
        }

    def _read(self, request: Request, sid: str | None) -> dict[str, Any]:
        if sid is not None:
            if sid not in self._resources:
                raise TwilioError(20404, f"The resource {sid} was not found", HTTPStatus.NOT_FOUND)
            return dict(self._resources[sid])
        if "/Messages" not in request.path:
            return {"sid": self.account_sid, "status": self.account_status, "type": "Full"}
        found = [resource for resource in self._resources.values() if _matches(resource, request)]
        return {"messages": found[::-1], "page": 0, "page_size": 50, "next_page_uri": None}


def _matches(resource: dict[str, Any], request: Request) -> bool:
    """Filter a list by `To` and `From`; dates are left alone, as everything here is of today."""
    wanted = {"to": request.query.get("To"), "from": request.query.get("From")}
    return all(value is None or resource[name] == value for name, value in wanted.items())


def _credentials(request: Request) -> tuple[str, str]:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        user, _, word = base64.b64decode(token, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return (user, word) if scheme.lower() == "basic" else ("", "")
