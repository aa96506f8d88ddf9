"""`knell test`: one real message through one channel, and what to do when it does not arrive."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from knell.actors.line import GRACE, Line
from knell.assembly import made, read
from knell.channels.base import Channel
from knell.channels.http import Http
from knell.channels.veil import Veil
from knell.cli.options import config_option, json_option
from knell.cli.plain import brief
from knell.cli.remedies import in_doubt, remedy
from knell.config.load import candidates
from knell.config.problems import did_you_mean
from knell.config.schema import ChannelConfig, NotificationConfig
from knell.events import NotificationEvent
from knell.ids import uuid7
from knell.messages import Delivered, FormattedMessage, Outcome, Reason, Retry, Unknown
from knell.templates.engine import TemplateEngine

TITLE = "Test message of knell"


class _Alone(dict[str, bool]):
    """Switches one channel on and all others off: what they miss does not matter here."""

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> bool:
        return bool(self.get(name, False))


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it. `why` and `fix` are empty when it worked, or when nobody knows more."""

    channel: str
    type: str
    ok: bool
    outcome: str
    detail: str = ""
    reason: str = ""
    why: str = ""
    fix: str = ""
    retry_after: float | None = None
    receipt: Any = None
    milliseconds: int = 0


@click.command(short_help="Send a test message through a channel.")
@click.argument("channel")
@click.option(
    "--check", "only_check", is_flag=True, help="Only look whether it could: nobody gets a message."
)
@config_option
@json_option
@click.pass_context
def command(ctx: click.Context, *, channel: str, only_check: bool, config: str | None, as_json: bool) -> None:
    """Send a real test message through CHANNEL, once, and explain what went wrong if it did.

    It needs no running service and leaves nothing in the store; a channel that is not enabled yet can be
    tested, too, and what other channels miss does not matter.
    """
    settings = _settings(channel, config)
    report = asyncio.run(_checked(settings, channel) if only_check else _sent(settings, channel))
    if as_json:
        click.echo(msgspec.json.encode(asdict(report)).decode())
    else:
        _echo(report, str(candidates(config)[0]))
    ctx.exit(0 if report.ok else 1)


def _settings(name: str, config: str | None) -> NotificationConfig:
    """Return the configuration with this channel alone.

    Raises:
        ConfigError: something in it is wrong, apart from other channels' credentials.
        click.UsageError: there is no such channel.
    """
    settings = read(None if config is None else Path(config), switched=_Alone({name: True}))
    if name not in settings.channels:
        hint = did_you_mean(name, settings.channels)
        there = ", ".join(settings.channels) or "none"
        raise click.UsageError(f"there is no channel {name!r}; {hint or f'there are: {there}'}")
    return settings


@asynccontextmanager
async def _made(settings: NotificationConfig, name: str) -> AsyncGenerator[tuple[Channel, Http]]:
    channel, http = made(settings.channels[name]), Http(settings.security)
    try:
        yield channel, http
    finally:
        # What was asked is answered, and a third party's goodbye may do anything.
        with suppress(Exception):
            async with asyncio.timeout(GRACE):
                await channel.close()
        await http.close()


async def _checked(settings: NotificationConfig, name: str) -> Report:
    section = settings.channels[name]
    async with _made(settings, name) as (channel, http):
        begun = time.monotonic()
        try:
            async with asyncio.timeout(section.timeout_seconds + GRACE):
                await channel.open(http)
                status = await channel.health_check()
            healthy, detail = status.healthy, Veil(section).text(status.detail)
        except Exception as error:  # noqa: BLE001 - a third party's channel may raise anything
            return _crashed(section, error)
        took = round((time.monotonic() - begun) * 1000)
    found = None if healthy else remedy(None, detail)
    return Report(
        name,
        section.type,
        ok=healthy,
        outcome="healthy" if healthy else "unhealthy",
        detail=detail,
        why=found.why if found else "",
        fix=found.fix if found else "",
        milliseconds=took,
    )


async def _sent(settings: NotificationConfig, name: str) -> Report:
    section = settings.channels[name]
    async with _made(settings, name) as (channel, http):
        message = _message(settings, section, channel)
        line = Line(channel, http, section.timeout_seconds, channel.memory)
        begun = time.monotonic()
        try:
            outcome = Veil(section).outcome(await line.send(channel.fit(message)))
        except Exception as error:  # noqa: BLE001 - as above
            return _crashed(section, error)
        return _told(section, outcome, round((time.monotonic() - begun) * 1000))


def _message(settings: NotificationConfig, section: ChannelConfig, channel: Channel) -> FormattedMessage:
    event = NotificationEvent(
        event_type="test",
        source="knell test",
        title=TITLE,
        description=f"The channel {section.name} works. Nothing happened, and nothing is to be done.",
    )
    engine = TemplateEngine(
        dashboard_url=settings.dashboard_url,
        locale=section.locale or settings.locale,
        directories=[Path(folder) for folder in settings.templates.directories],
    )
    override = section.template_overrides.get(event.event_type)
    message = engine.message(channel.templates or section.type, [event], override=override)
    return msgspec.structs.replace(message, id=uuid7())


def _told(section: ChannelConfig, outcome: Outcome, took: int) -> Report:
    if isinstance(outcome, Delivered):
        return Report(
            section.name,
            section.type,
            ok=True,
            outcome="delivered",
            detail=outcome.detail,
            receipt=outcome.receipt,
            milliseconds=took,
        )
    doubtful = isinstance(outcome, Unknown)
    found = in_doubt() if doubtful else remedy(outcome.reason, outcome.detail)
    return Report(
        section.name,
        section.type,
        ok=False,
        outcome=type(outcome).__name__.lower(),
        detail=outcome.detail,
        reason=outcome.reason.value,
        why=found.why,
        fix=found.fix,
        retry_after=outcome.after if isinstance(outcome, Retry) else None,
        milliseconds=took,
    )


def _crashed(section: ChannelConfig, error: Exception) -> Report:
    # Never its text: it may hold anything, an address with its token for one.
    found = remedy(Reason.CRASHED, "")
    detail = f"the channel raised {type(error).__name__}"
    return Report(
        section.name,
        section.type,
        ok=False,
        outcome="crashed",
        detail=detail,
        reason=Reason.CRASHED.value,
        why=found.why,
        fix=found.fix,
    )


_HEADS = {
    "delivered": ("green", "delivered in {} ms"),
    "healthy": ("green", "ready (nothing was sent)"),
    "unhealthy": ("red", "not ready (nothing was sent)"),
    "retry": ("yellow", "not delivered, may work later"),
    "rejected": ("red", "not delivered"),
    "unknown": ("yellow", "nobody knows whether it was delivered"),
    "crashed": ("red", "the channel crashed"),
}


def _echo(report: Report, path: str) -> None:
    colour, head = _HEADS[report.outcome]
    reason = f": {report.reason.replace('_', ' ')}" if report.reason and report.outcome != "crashed" else ""
    click.echo(f"{report.channel}: {click.style(head.format(report.milliseconds) + reason, fg=colour)}")
    if report.detail:
        click.echo(f"  {brief(report.detail)}")
    if report.outcome == "delivered":
        click.echo(f'  look for "{TITLE}" there')
    if report.why:
        click.echo(f"  why: {report.why}")
    if report.fix:
        click.echo(f"  fix: {report.fix.format(section=f'channels.{report.channel} in {path}')}")
    if report.retry_after:
        click.echo(f"  the provider asks to wait {report.retry_after:g} s")
