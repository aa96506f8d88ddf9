"""Text messages by Twilio: one request for each number, each number with a result of its own.

Twilio knows no idempotency key. After a request without an answer, the next attempt looks first whether the
message is there, and sends only when it is not. Before each request stand two questions: whether the owner of
the number has opted out, which is a legal stop, and whether the day's budget has room.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import Any, ClassVar
from urllib.parse import urlencode

import msgspec

from knell.errors import StoreError
from knell.events import EventType, Severity
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
    Usage,
)

from .base import Channel, text_of, titles
from .budget import OVER, Charge, Spending
from .http import Http
from .optouts import OptOuts
from .segments import fit, segments
from .sms_config import SmsConfig, questionable
from .tally import Tally, listed
from .twilio import OPTED_OUT, Failure, Refused, Taken, Twilio
from .twilio_callback import WEEK, Sent, sent_key

REMEMBERED = 1000
"""Ids of sent messages kept to tell them from one in doubt; ours."""

LEAST_SECONDS = 1.0
"""Time a message gets after a look for it took most of the attempt's; ours."""

_TOLL_FREE = ("+1800", "+1833", "+1844", "+1855", "+1866", "+1877", "+1888")


@dataclass(slots=True)
class Errand:
    """One attempt at one message.

    Attributes:
        parts: segments of the text, by our own count.
        doubtful: numbers that may have the message already -> since when, Unix seconds; it is paid for.
        critical: whether it may spend what the budget keeps for critical events.
        deadline: end of the attempt, on the loop's clock.
        reported: segments of the text as Twilio counts them; 0 while it has not said.
        used, cost: segments and money of what Twilio took in this attempt.
    """

    text: str
    parts: int
    tally: Tally
    doubtful: dict[str, float]
    critical: bool
    deadline: float
    reported: int = 0
    used: int = 0
    cost: float = 0.0

    @property
    def seconds(self) -> float:
        """Time that is left."""
        return self.deadline - asyncio.get_running_loop().time()

    @property
    def progress(self) -> dict[str, Any]:
        """What the next attempt has to know."""
        return self.tally.progress | ({"unknown": dict(self.doubtful)} if self.doubtful else {})


class SmsChannel(Channel):
    """Sends text messages, but never to who has opted out, and never for more than the day's budget."""

    Config = SmsConfig
    default_events: ClassVar[frozenset[str]] = frozenset({EventType.JOB_FAILED, EventType.SYSTEM_ALERT})
    config: SmsConfig

    def __init__(self, config: SmsConfig) -> None:
        super().__init__(config)
        self._toll_free = config.from_number.startswith(_TOLL_FREE)
        self._form = _form(config)
        self._sent: deque[str] = deque(maxlen=REMEMBERED)
        # One at a time to a number: what is on its way while another is refused with 21610 would be a second.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def open(self, http: Http) -> None:
        """Get ready to send."""
        await super().open(http)
        config = self.config
        sid, token = config.account_sid.get_secret_value(), config.auth_token.get_secret_value()
        self._twilio = Twilio(http, config.api_base_url, sid, token)
        self._optouts = OptOuts(self.memory, config.opted_in)
        self._spending = Spending(config.money, self.memory, self.now)

    def fit(self, message: FormattedMessage) -> FormattedMessage:
        """Cut a text to the segments the section pays for."""
        cuts, said = list(message.cuts), text_of(message)
        # Twilio refuses a message without a text (21602), and a title is better than none.
        said = said if said.strip() else titles(message.events)
        text = fit(said, self.config.max_segments, toll_free=self._toll_free, cuts=cuts)
        return msgspec.structs.replace(message, format=MessageFormat.TEXT, content=text, cuts=tuple(cuts))

    async def send(self, message: FormattedMessage) -> Outcome:
        """Hand the text in for every number that does not have it yet."""
        errand = self._errand(message)
        failure = None
        for number in tuple(errand.tally.left):
            # What ends the attempt for one number ends it for those after it.
            if failure := await self._serve(number, errand):
                break
        usage = Usage(errand.used, round(errand.cost, 6), self.config.currency) if errand.used else None
        if failure is not None:
            return msgspec.structs.replace(failure, progress=errand.progress, usage=usage)
        if refused := errand.tally.refused:
            return Rejected(_reason(refused), listed(refused), errand.progress, usage)
        sids = dict(errand.tally.accepted)
        parts = (errand.reported or errand.parts) * len(sids)
        receipt = {"sid": next(iter(sids.values()), ""), "accepted": sids, "num_segments": parts}
        return Delivered(receipt, usage=usage)

    def now(self) -> float:
        """Return the time, in Unix seconds."""
        return time()

    def _errand(self, message: FormattedMessage) -> Errand:
        """Go on where earlier attempts at the message ended."""
        text = text_of(message)
        return Errand(
            text,
            segments(text, toll_free=self._toll_free),
            Tally.resume(self.config.to_numbers, message.progress),
            dict(message.progress.get("unknown") or {}),
            any(event.severity is Severity.CRITICAL for event in message.events),
            asyncio.get_running_loop().time() + self.config.timeout_seconds,
        )

    async def _serve(self, number: str, errand: Errand) -> Failure | None:
        """Settle one number; return what stands against all that are left."""
        async with self._turns[number]:
            try:
                return await self._settle(number, errand)
            except StoreError as error:  # whether it may be sent is not known, so it is not
                return Retry(Reason.SERVER_ERROR, detail=f"the store cannot be read: {error}")

    async def _settle(self, number: str, errand: Errand) -> Failure | None:
        if await self._optouts.hold(number, self.now()):
            errand.tally.refuse(number, OPTED_OUT)
            errand.doubtful.pop(number, None)
            return None
        if errand.seconds <= 0:
            return Retry(Reason.TIMEOUT, detail="no time was left for all numbers")
        result = await self._look_up(number, errand) or await self._hand_in(number, errand)
        if isinstance(result, Refused):
            errand.tally.refuse(number, result.why)
        elif not isinstance(result, Taken):
            return result
        errand.doubtful.pop(number, None)
        return None

    async def _look_up(self, number: str, errand: Errand) -> Taken | Failure | None:
        """Look whether an earlier attempt reached Twilio; None: it did not, or there is no doubt."""
        since = errand.doubtful.get(number)
        if since is None:
            return None
        charge = Charge(since, self._price(errand.parts))
        found = await self._twilio.find(number, errand.text, since, self._sent, errand.seconds)
        if isinstance(found, Taken):
            await self._take(number, errand, found, charge)
        elif found is None:
            del errand.doubtful[number]
            await self._spending.settle(charge, 0.0)
        return found

    async def _hand_in(self, number: str, errand: Errand) -> Taken | Refused | Failure:
        charge = await self._spending.take(self._price(errand.parts), critical=errand.critical)
        if charge is None:
            return Refused(self._spending.refusal(critical=errand.critical))
        form = {**self._form, "To": number, "Body": errand.text}
        result = await self._twilio.create(form, max(errand.seconds, LEAST_SECONDS))
        if isinstance(result, Taken):
            await self._take(number, errand, result, charge)
        elif isinstance(result, Unknown):
            errand.doubtful[number] = charge.at
        else:
            if isinstance(result, Refused) and result.why == OPTED_OUT:
                self._optouts.stop(number, self.now())
            await self._spending.settle(charge, 0.0)
        return result

    async def _take(self, number: str, errand: Errand, taken: Taken, charge: Charge) -> None:
        """Note a message that Twilio has: before all else, so that it is never sent again."""
        errand.tally.accept(number, taken.sid)
        errand.reported = taken.segments or errand.reported
        self._sent.append(taken.sid)
        parts = taken.segments or errand.parts
        cost = self._price(parts)
        errand.used += parts
        errand.cost += cost
        if self.config.status_callback_url is not None:  # for whoever takes what is called back
            self.memory.put(sent_key(taken.sid), Sent(number, charge.day, cost).note, WEEK)
        await self._spending.settle(charge, cost)

    def _price(self, parts: int) -> float:
        return parts * self.config.money.price_per_segment

    def validate_config(self) -> list[str]:
        """Return numbers that cannot exist, and a budget that cannot be meant."""
        return questionable(self.config)

    async def health_check(self) -> HealthStatus:
        """Ask for the account; no message is sent."""
        failure = await self._twilio.check(self.config.timeout_seconds)
        details = [failure.detail] if failure is not None else []
        return HealthStatus(healthy=failure is None, detail="; ".join(details + self.validate_config()))


def _form(config: SmsConfig) -> dict[str, str]:
    """Return what is the same in every request of a channel."""
    sender = {"From": config.from_number, "MessagingServiceSid": config.messaging_service_sid}
    form = {name: value for name, value in sender.items() if value}
    form["ValidityPeriod"] = str(config.validity_period_seconds)
    if config.status_callback_url is not None:
        form["StatusCallback"] = f"{config.status_callback_url}?{urlencode({'channel': config.name})}"
    return form


def _reason(refused: Mapping[str, str]) -> Reason:
    """Name what stands against a message: money first, because a replay can change that."""
    if any(why.startswith(OVER) for why in refused.values()):
        return Reason.BUDGET
    stopped = all(why == OPTED_OUT for why in refused.values())
    return Reason.OPTED_OUT if stopped else Reason.RECIPIENT
