"""`knell demo`: the whole system against stand-ins on this machine, with a page to watch."""

import os
import sys

import click

from knell.cli.stream import Lossy


@click.command(short_help="Show what knell does, on this machine alone.")
@click.option(
    "--once", is_flag=True, help="Play the story and end: 0 if everything arrived exactly once, else 1."
)
@click.option("--lang", type=click.Choice(["en", "ja"]), default="en", help="Language of messages and words.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port of the page; by default 8321, or a free one."
)
@click.option("--no-page", is_flag=True, help="Only the terminal.")
@click.pass_context
def command(ctx: click.Context, *, once: bool, lang: str, port: int | None, no_page: bool) -> None:
    """Start stand-ins of Slack, a mail server, Discord, a webhook receiver and Twilio, and the whole system.

    A story is played: a job fails, a provider answers 429, an actor crashes and returns, a burst is batched.
    No account, no configuration; nothing leaves this machine. Then the page lives on until Ctrl-C.
    """
    out = Lossy(sys.stdout)
    color = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    try:
        from knell.lab.demo.show import Options, perform  # noqa: PLC0415 - a Ctrl-C meanwhile ends it quietly

        code = perform(out, Options(once=once, lang=lang, page=not no_page, port=port), color=color)
    except KeyboardInterrupt:  # before the demo could take care of it
        code = 1 if once else 0
    ctx.exit(code)
