"""`POST /ingest/twilio`: Twilio tells what became of text messages, and who wants no more of them.

It can send no bearer token, so a request counts by its signature alone: by the auth token of an SMS section
whose `status_callback_url` is the address that was called. Nothing is believed before that was checked.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl

from aiohttp import web

from knell.actors.policy.routing import ABOUT, SELF
from knell.channels.memory import Memory
from knell.channels.sms_config import SmsConfig
from knell.channels.twilio import Price
from knell.channels.twilio import Twilio as Account
from knell.channels.twilio_callback import Callbacks, News
from knell.channels.twilio_signature import Form, genuine
from knell.channels.twilio_status import Loss
from knell.errors import StoreError
from knell.events import EventType, NotificationEvent, Severity
from knell.http.body import READ_SECONDS
from knell.http.problems import Problem, unavailable
from knell.http.service import Phase, Service
from knell.log import log
from knell.messages import Scope

PATH = "/ingest/twilio"

MAX_BYTES = 64 * 1024
"""The largest form; Twilio's have about 1 KiB, the text of an answer included (ours)."""

MAX_FIELDS = 200
"""Fields of a form; Twilio's have about 30 (ours)."""

ANSWER_SECONDS = 14.0
"""Twilio waits 15 s for an answer (twilio.com/docs/usage/webhooks/webhooks-connection-overrides)."""

PRICE_SECONDS = 5.0
"""How long a look for a price may take; there are two of them at most in one answer (ours)."""

_FORM = "application/x-www-form-urlencoded"


class Twilio:
    """The handler of Twilio's callbacks."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._changing = asyncio.Lock()  # what is known is read and written as one step

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.post(PATH, self.take)]

    async def take(self, request: web.Request) -> web.Response:
        """Take a status callback, or an answer that somebody sent to one of our numbers."""
        sections = self._sections(request.query.get("channel"))
        pairs = await _read_form(request)
        signature = request.headers.get("X-Twilio-Signature", "")
        signed = [section for section in sections if _is_genuine(request, section, pairs, signature)]
        if not signed:
            detail = "the signature is of no SMS channel whose status_callback_url this is"
            raise Problem(HTTPStatus.FORBIDDEN, detail)
        if self._service.phase is not Phase.SERVING:
            raise unavailable(f"the service is {self._service.phase}")
        form = dict(pairs)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if "MessageStatus" in form:
                    await self._report(signed, form)
                else:
                    await self._answer(signed, form)
        except StoreError as error:
            raise unavailable(str(error)) from None
        except TimeoutError:
            raise unavailable("the store takes too long") from None
        return web.Response(status=HTTPStatus.NO_CONTENT)

    def _sections(self, name: str | None) -> list[SmsConfig]:
        """Return the sections that may be meant."""
        return [
            section
            for own, section in self._service.manager.config.enabled_channels()
            if isinstance(section, SmsConfig) and section.status_callback_url and name in {None, own}
        ]

    # What became of a message

    async def _report(self, sections: list[SmsConfig], form: Mapping[str, str]) -> None:
        sid = form.get("MessageSid", "")
        for section in sections:
            callbacks = Callbacks(self._memory(section))
            if len(sections) > 1 and not await callbacks.knows(sid):
                continue
            async with self._changing:
                news = await callbacks.report(form, self._now())
            if news is not None:
                self._show(section.name, news)
                if news.final:
                    await self._reconcile(section, callbacks, news.sid)

    def _show(self, name: str, news: News) -> None:
        log.debug("sms.status", channel=name, sid=news.sid, status=news.status)
        if (loss := news.loss) is None:
            return
        self._service.manager.system.telemetry.channel(name).undelivered.inc()
        log.warning(
            "sms.undelivered",
            channel=name,
            sid=news.sid,
            status=news.status,
            code=loss.code,
            why=loss.why,
        )
        if news.alarming:
            self._service.manager.ref.tell(_alert(name, news, loss))

    # What it did cost

    async def _reconcile(self, section: SmsConfig, callbacks: Callbacks, sid: str) -> None:
        """Ask for the price of a message that has ended, and of the oldest that had none yet."""
        if section.budget is None:
            return
        oldest = (await callbacks.unpriced())[:1]
        for each in dict.fromkeys([sid, *oldest]):
            price = await self._price(section, each)
            async with self._changing:
                await callbacks.set_unpriced(each, waiting=price is None)
                if price is not None and price.currency == section.currency:
                    await callbacks.priced(each, price.amount)

    async def _price(self, section: SmsConfig, sid: str) -> Price | None:
        account, token = section.account_sid.get_secret_value(), section.auth_token.get_secret_value()
        http = self._service.manager.system.equipment.http
        found = await Account(http, section.api_base_url, account, token).price(sid, PRICE_SECONDS)
        return found if isinstance(found, Price) else None

    # What people answered

    async def _answer(self, sections: list[SmsConfig], form: Mapping[str, str]) -> None:
        """Keep a STOP or a START for the channels it was sent to.

        A STOP to a number of the account that is no channel's sender is meant for all that share its address:
        one message too few is better than one too many.
        """
        meant = [section for section in sections if _is_sender(section, form)]
        for section in meant or sections:
            async with self._changing:
                callbacks = Callbacks(self._memory(section))
                said = await callbacks.answer(form, self._now(), only_stop=not meant)
            if said is not None:
                log.info("sms.consent", channel=section.name, said=said.value)

    # Small parts

    def _memory(self, section: SmsConfig) -> Memory:
        return self._service.manager.system.memory(section.name)

    def _now(self) -> float:
        return self._service.manager.system.host.clock.wall()


def _is_genuine(request: web.Request, section: SmsConfig, pairs: Form, signature: str) -> bool:
    """Check a request against one section: its token, and its public address with the query as it came."""
    query = request.rel_url.raw_query_string
    url = f"{section.status_callback_url}?{query}" if query else str(section.status_callback_url)
    return genuine(section.auth_token.get_secret_value(), url, pairs, signature)


def _is_sender(section: SmsConfig, form: Mapping[str, str]) -> bool:
    """Whether an answer went to a channel's own number or messaging service."""
    service, number = form.get("MessagingServiceSid", ""), form.get("To", "")
    return bool(
        (service and service == section.messaging_service_sid) or (number and number == section.from_number)
    )


def _alert(name: str, news: News, loss: Loss) -> NotificationEvent:
    """Tell people that messages are lost, by any channel but this one."""
    grave = loss.scope is Scope.CHANNEL
    code = f"Twilio error {loss.code}: " if loss.code else ""
    return NotificationEvent(
        event_type=EventType.SYSTEM_ALERT,
        source=SELF,
        severity=Severity.ERROR if grave else Severity.WARNING,
        title=f"A text message of channel {name} was not delivered",
        description=f"To {news.number}: {code}{loss.why}",
        metadata={ABOUT: name, "status": news.status, "code": loss.code, "sid": news.sid},
    )


async def _read_form(request: web.Request) -> Form:
    """Return the fields of a form.

    Raises:
        Problem: it is none, is too large, or does not come.
    """
    if request.content_type != _FORM:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send 'Content-Type: {_FORM}'", {"Accept": _FORM})
    try:
        async with asyncio.timeout(READ_SECONDS):
            body = await _read(request)
    except TimeoutError:
        detail = f"the body did not come within {READ_SECONDS:g} seconds"
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, detail) from None
    except ConnectionError:
        raise Problem(HTTPStatus.BAD_REQUEST, "the connection ended before the body did") from None
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Problem(HTTPStatus.BAD_REQUEST, "the body is not the form it should be") from None


async def _read(request: web.Request) -> bytes:
    body = bytearray()
    too_large = (request.content_length or 0) > MAX_BYTES
    while not too_large and (chunk := await request.content.readany()):
        body += chunk
        too_large = len(body) > MAX_BYTES
    if too_large:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a form may have {MAX_BYTES} bytes at most")
    return bytes(body)
