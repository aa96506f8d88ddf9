"""Text messages by Twilio: one request for each number, each number with a result of its own.

Twilio knows no idempotency key. After a request without an answer, the next attempt looks first whether the
message is there, and sends only when it is not.
"""

import asyncio
import re
from collections import deque
from dataclasses import dataclass
from time import time
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from knell.events import EventType
from knell.messages import (
    Delivered,
    FormattedMessage,
    HealthStatus,
    MessageFormat,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Unknown,
)

from ..config.schema import ChannelConfig, RateLimit
from .base import Channel, text_of
from .http import Http, WebUrl
from .segments import fit, segments
from .tally import Tally, listed
from .twilio import OPTED_OUT, Failure, Refused, Taken, Twilio

E164 = r"^\+[1-9][0-9]{1,14}$"
"""An international number (ITU-T E.164), as Twilio's `To` wants it."""

REMEMBERED = 1000
"""Ids of sent messages kept to tell them from one in doubt; ours."""

LEAST_SECONDS = 1.0
"""Time a message gets after a look for it took most of the attempt's; ours."""

_SENDER = re.compile(r"\+[1-9][0-9]{1,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
_NORTH_AMERICAN = re.compile(r"\+1[2-9][0-9]{2}[2-9][0-9]{6}")
_TOLL_FREE = ("+1800", "+1833", "+1844", "+1855", "+1866", "+1877", "+1888")


def _is_number(value: str) -> str:
    if re.fullmatch(E164, value) is None:
        raise ValueError("expected a number in international form, such as +819012345678, in quotes")
    return value


def _is_sender(value: str) -> str:
    if value and _SENDER.fullmatch(value) is None:
        raise ValueError("expected a number such as +15005550006, a short code or a sender name")
    return value


def _is_account(value: SecretStr) -> SecretStr:
    if re.fullmatch("[A-Za-z0-9]{1,64}", value.get_secret_value()) is None:
        raise ValueError("expected an account SID: AC and 32 letters and digits")
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Number = Annotated[str, AfterValidator(_is_number), Field(json_schema_extra={"pattern": E164})]
Numbers = Annotated[
    list[Number], Field(min_length=1), BeforeValidator(_listed, json_schema_input_type=Number | list[Number])
]


class SmsConfig(ChannelConfig):
    """The section of an SMS channel (specification, "SMSChannel")."""

    provider: Literal["twilio"] = Field(default="twilio", description="whose service it is")
    account_sid: Annotated[SecretStr, AfterValidator(_is_account)] = Field(description="AC...")
    auth_token: SecretStr = Field(min_length=1, description="the account's token")
    from_number: Annotated[str, AfterValidator(_is_sender)] = Field(
        default="", description="+ and the number, a short code, or a sender name"
    )
    messaging_service_sid: str = Field(
        default="", pattern=r"^(MG[0-9A-Za-z]{1,62})?$", description="a messaging service instead of a number"
    )
    to_numbers: Numbers = Field(description="receivers: + and the number, in quotes")
    api_base_url: WebUrl = Field(default="https://api.twilio.com", description="root of Twilio's API")
    validity_period_seconds: int = Field(
        default=14_400, ge=1, le=36_000, description="age at which Twilio drops what it could not send"
    )
    max_segments: int = Field(
        default=3, ge=1, le=10, description="segments a text is cut to; each is charged (10 stay below 1,600)"
    )
    concurrency: int = Field(default=4, ge=1, le=100, description="most messages on the wire at once")
    rate_limit: RateLimit | None = Field(
        default=RateLimit(max_requests=1),
        description="1/s: what a long code of the US sends (Twilio error page 21611)",
    )

    @model_validator(mode="after")
    def _has_a_sender(self) -> Self:
        if not (self.from_number or self.messaging_service_sid):
            raise ValueError("set from_number or messaging_service_sid")
        return self


@dataclass(slots=True)
class Errand:
    """One attempt at one message.

    Attributes:
        doubtful: numbers that may have the message already -> since when, Unix seconds.
        replayed: numbers that refused before and that an operator wants to try again.
        deadline: end of the attempt, on the loop's clock.
        reported: segments of the text as Twilio counts them; 0 while it has not said.
    """

    text: str
    tally: Tally
    doubtful: dict[str, float]
    replayed: frozenset[str]
    deadline: float
    reported: int = 0

    @classmethod
    def of(cls, message: FormattedMessage, config: SmsConfig) -> "Errand":
        """Go on where earlier attempts at the message ended."""
        tally = Tally.resume(config.to_numbers, message.progress)
        doubtful = dict(message.progress.get("unknown") or {})
        replayed = frozenset(message.progress.get("refused") or {}).intersection(tally.left)
        deadline = asyncio.get_running_loop().time() + config.timeout_seconds
        return cls(text_of(message), tally, doubtful, replayed, deadline)

    @property
    def seconds(self) -> float:
        """Time that is left."""
        return self.deadline - asyncio.get_running_loop().time()

    @property
    def progress(self) -> dict[str, Any]:
        """What the next attempt has to know."""
        return self.tally.progress | ({"unknown": dict(self.doubtful)} if self.doubtful else {})


class SmsChannel(Channel):
    """Sends text messages. It knows of opt-outs until it starts anew; Twilio keeps them for good."""

    Config = SmsConfig
    default_events: ClassVar[frozenset[str]] = frozenset({EventType.JOB_FAILED, EventType.SYSTEM_ALERT})
    config: SmsConfig

    def __init__(self, config: SmsConfig) -> None:
        super().__init__(config)
        self._toll_free = config.from_number.startswith(_TOLL_FREE)
        sender = {"From": config.from_number, "MessagingServiceSid": config.messaging_service_sid}
        self._form = {name: value for name, value in sender.items() if value}
        self._form["ValidityPeriod"] = str(config.validity_period_seconds)
        self._opted_out: set[str] = set()
        self._sent: deque[str] = deque(maxlen=REMEMBERED)

    async def open(self, http: Http) -> None:
        """Get ready to send."""
        await super().open(http)
        config = self.config
        sid, token = config.account_sid.get_secret_value(), config.auth_token.get_secret_value()
        self._twilio = Twilio(http, config.api_base_url, sid, token)

    def fit(self, message: FormattedMessage) -> FormattedMessage:
        """Cut a text to the segments the section pays for."""
        cuts = list(message.cuts)
        text = fit(text_of(message), self.config.max_segments, toll_free=self._toll_free, cuts=cuts)
        return msgspec.structs.replace(message, format=MessageFormat.TEXT, content=text, cuts=tuple(cuts))

    async def send(self, message: FormattedMessage) -> Outcome:
        """Hand the text in for every number that does not have it yet."""
        errand = Errand.of(message, self.config)
        failure = await self._run(errand)
        if failure is not None:
            return msgspec.structs.replace(failure, progress=errand.progress)
        tally = errand.tally
        if tally.refused:
            stopped = all(why == OPTED_OUT for why in tally.refused.values())
            reason = Reason.OPTED_OUT if stopped else Reason.RECIPIENT
            return Rejected(reason, listed(tally.refused), errand.progress)
        parts = errand.reported or segments(errand.text, toll_free=self._toll_free)
        sids = dict(tally.accepted)
        return Delivered(
            {"sid": next(iter(sids.values()), ""), "accepted": sids, "num_segments": parts * len(sids)}
        )

    async def _run(self, errand: Errand) -> Failure | None:
        """Settle number after number; what ends the attempt for one ends it for those after it."""
        for number in tuple(errand.tally.left):
            if number in self._opted_out and number not in errand.replayed:
                errand.tally.refuse(number, OPTED_OUT)
                continue
            result = await self._hand_in(number, errand)
            if isinstance(result, Taken):
                errand.tally.accept(number, result.sid)
                errand.reported = result.segments
                self._sent.append(result.sid)
                self._opted_out.discard(number)
            elif isinstance(result, Refused):
                errand.tally.refuse(number, result.why)
                if result.why == OPTED_OUT:
                    self._opted_out.add(number)
            else:
                return result
            errand.doubtful.pop(number, None)
        return None

    async def _hand_in(self, number: str, errand: Errand) -> Taken | Refused | Failure:
        if errand.seconds <= 0:
            return Retry(Reason.TIMEOUT, detail="no time was left for all numbers")
        since = errand.doubtful.get(number)
        if since is not None:
            found = await self._twilio.find(number, errand.text, since, self._sent, errand.seconds)
            if found is not None:
                return found
        before = time()
        form = {**self._form, "To": number, "Body": errand.text}
        result = await self._twilio.create(form, max(errand.seconds, LEAST_SECONDS))
        if isinstance(result, Unknown):
            errand.doubtful.setdefault(number, before)
        return result

    def validate_config(self) -> list[str]:
        """Return numbers that cannot exist although they have the form of one."""
        numbers = (self.config.from_number, *self.config.to_numbers)
        return [
            f"{number} is not a valid North American number: +1 and ten digits"
            for number in numbers
            if number.startswith("+1") and _NORTH_AMERICAN.fullmatch(number) is None
        ]

    async def health_check(self) -> HealthStatus:
        """Ask for the account; no message is sent."""
        failure = await self._twilio.check(self.config.timeout_seconds)
        details = [failure.detail] if failure is not None else []
        return HealthStatus(healthy=failure is None, detail="; ".join(details + self.validate_config()))
