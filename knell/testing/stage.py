"""The stage of a check: a channel, its provider, its secrets, and everything that was said."""

import asyncio
import traceback
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import msgspec

from knell.channels.base import Channel, ChannelConfig
from knell.channels.registry import find
from knell.cli.samples import samples
from knell.config.schema import Security
from knell.errors import ChannelError
from knell.events import NotificationEvent
from knell.ids import uuid7
from knell.lab.standin import LOOPBACK, StandIn
from knell.messages import FormattedMessage, Outcome
from knell.templates import TemplateEngine
from knell.testing.canaries import Canaries, secrets_of
from knell.testing.provider import Provider, Providers
from knell.testing.verdicts import verdict
from knell.testing.world import Certificate, Heard, TrustingHttp, connections, no_thread_left, running

T = TypeVar("T")

NAME = "case"
"""The name of the channel's section."""

TURNS = 20
"""Turns of the event loop in which what was closed comes to its end."""


class Case(Protocol):
    """What a stage has to know of a channel; a conformance class is one."""

    channel: ClassVar[type[Channel]]
    provider: ClassVar[type[StandIn] | None]

    def section(self, stage: "Stage") -> dict[str, Any]:
        """Return the smallest section that works."""
        ...


class Stage:
    """One check's world; made by the fixture `stage`, and anew for every check.

    Attributes:
        folder: an empty folder.
        certificate: what the provider shows, when it speaks TLS.
        elsewhere: a host to put in the provider's place in the section.
        printed: returns what was printed since it was asked last.
    """

    def __init__(
        self, case: Case, folder: Path, certificate: Certificate | None, printed: Callable[[], str]
    ) -> None:
        self.folder = folder
        self.certificate = certificate
        self.elsewhere = ""
        self.printed = printed
        self._case = case
        self._lab = (
            Providers(case.provider, certificate.server if certificate else None) if case.provider else None
        )
        self._canaries = Canaries()
        self._heard = Heard()
        self._said: list[str] = []
        self._unhandled: list[str] = []

    # What a section is made of

    @property
    def provider(self) -> Any:
        """The provider's stand-in: the class that the case names."""
        assert self._lab is not None, "this case has no provider"
        return self._lab.provider

    @property
    def trap(self) -> Provider:
        """A server that a good channel never calls."""
        assert self._lab is not None, "this case has no provider"
        return self._lab.trap

    @property
    def url(self) -> str:
        """The root of the provider's addresses."""
        return str(self.provider.base_url)

    @property
    def ca_file(self) -> str:
        """A PEM file of the authorities to trust, for channels that make connections themselves."""
        return str(self.certificate.ca_file) if self.certificate else ""

    def secret(self, name: str, value: str = "") -> str:
        """Return a secret, or take note of the one given: it must never be seen anywhere."""
        value = value or f"canary-{name}-7Yq3Zk81"
        self._canaries.add(name, value)
        return value

    # The channel

    @property
    def type(self) -> str:
        """What a configuration names the channel by."""
        channel = self._case.channel
        own = channel.__module__.rpartition(".")[2]
        try:
            if find(own) is channel:
                return own
        except ChannelError:
            pass
        return f"{channel.__module__}:{channel.__qualname__}"

    def section(self, **changes: Any) -> dict[str, Any]:
        """Return the case's section, with the provider's address replaced if it is elsewhere."""
        section = self._case.section(self)
        if self.elsewhere:
            section = _moved(section, self.elsewhere)
        return {key: value for key, value in (section | changes).items() if key != "type"}

    def model(self, **changes: Any) -> ChannelConfig:
        """Return the checked section; what it declares as secret is watched from now on."""
        model = self._case.channel.Config.model_validate(
            {"name": NAME, "type": self.type, **self.section(**changes)}
        )
        secrets = list(secrets_of(model))
        for place, secret in secrets:
            self._canaries.add(place, secret)
        for _, user in secrets:
            for _, password in secrets:
                if user != password and max(len(user), len(password)) < 100:
                    self._canaries.add_pair(user, password)
        return model

    @asynccontextmanager
    async def open(self, **changes: Any) -> AsyncGenerator[Channel]:
        """Start a channel as its actor does, and end it so."""
        http = TrustingHttp(self.security)
        http.trusted = self.certificate.client if self.certificate else None
        channel = self._case.channel(self.model(**changes))
        try:
            async with running(channel, http):
                yield channel
        finally:
            await settled()

    @property
    def security(self) -> Security:
        """What connections may do: TLS is required where the provider speaks it."""
        required = self.certificate is not None
        return Security.model_validate({"require_tls": required, "allowed_networks": ["127.0.0.0/8"]})

    async def attempt(self, channel: Channel, message: FormattedMessage | None = None) -> Outcome:
        """Send a message once, and keep what came of it."""
        outcome = await channel.send(channel.fit(message or self.message()))
        verdict(outcome)
        self.saw(repr(outcome), str(outcome), msgspec.json.encode(outcome).decode())
        return outcome

    def message(self, events: list[NotificationEvent] | None = None, locale: str = "en") -> FormattedMessage:
        """Render a message as the channel's actor does; by default about a job that failed."""
        if events is None:
            events = [msgspec.structs.replace(samples("job_failed")[0], event_id=uuid7())]
        kind = self._case.channel.templates or self.type
        return msgspec.structs.replace(_engine().message(kind, events, locale=locale), id=uuid7())

    # Evidence

    def saw(self, *texts: str) -> None:
        """Keep texts in which no secret may stand."""
        self._said += texts

    def connections(self) -> int:
        """Return how many connections to the provider are open."""
        return connections(self.provider.port)

    def run(self, check: Coroutine[Any, Any, T]) -> T:
        """Run a check in a fresh event loop; nothing may be left over, and no secret may have been said."""
        with self._heard.listening(), no_thread_left():
            try:
                return asyncio.run(self._watched(check))
            except BaseException:
                self.saw(traceback.format_exc())
                raise
            finally:
                self.check_secrets()

    def check_secrets(self) -> None:
        """Look for secrets in everything that was said, logged or printed.

        Raises:
            AssertionError: one was found; the text names its slot, and what it stood in.
        """
        for text in (*self._said, *self._heard.lines, self.printed()):
            found = self._canaries.found_in(text)
            assert not found, f"secrets {sorted(found)} can be read in: {text[:2000]}"

    async def _watched(self, check: Coroutine[Any, Any, T]) -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._unhandled.append(repr(context)))
        before = asyncio.all_tasks()
        result = await check
        await settled()
        left = asyncio.all_tasks() - before
        assert not left, f"tasks outlive the channel: {left}"
        self.saw(*self._unhandled)
        assert not self._unhandled, f"nobody handled {self._unhandled}"
        return result

    @contextmanager
    def started(self) -> Generator["Stage"]:
        """Run the providers, if the case has one."""
        if self._lab is None:
            yield self
            return
        with self._lab:
            yield self

    def shut(self) -> None:
        """End the providers: their ports refuse connections from now on."""
        if self._lab is not None:
            self._lab.stop()


@lru_cache
def _engine() -> TemplateEngine:
    # One for all checks: templates are compiled at their first use.
    return TemplateEngine(dashboard_url="https://dash.example.com")


async def settled() -> None:
    """Let the event loop finish what was closed."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


def _moved(value: Any, host: str) -> Any:
    """Return a section in which another host stands for the provider's."""
    if isinstance(value, str):
        return value.replace(LOOPBACK, host)
    if isinstance(value, dict):
        return {key: _moved(item, host) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [_moved(item, host) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value
