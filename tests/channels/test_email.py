"""The e-mail channel against a scripted server: every answer, at every stage, over real sockets."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knell.channels.email import EmailChannel, EmailConfig
from knell.config.schema import Security
from knell.messages import (
    Attachment,
    Delivered,
    FormattedMessage,
    MessageFormat,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Scope,
    Unknown,
)
from tests.channels.opening import attempted, running

A, B, C = (f"{name}@example.com" for name in "abc")
EVERYBODY = [A, B, C]

DROP = "drop"
"""Instead of an answer: the connection breaks."""

SILENCE = "silence"
"""Instead of an answer: nothing, for ever."""

DEFAULTS = {
    "EHLO": "250-test\r\n250 SIZE 100000",
    "DATA": "354 go ahead",
    "AUTH": "235 in",
    "QUIT": "221 bye",
}


class Server:
    """A mail server that answers by script and keeps what it was told.

    `answers` maps a command, or its verb, to one answer for all times or to answers for one time after the
    other. GREETING is what comes first, "." the end of a mail.
    """

    def __init__(self, answers: Mapping[str, str | list[str]]) -> None:
        self.answers = {
            key: [said] * 99 if isinstance(said, str) else [*said] for key, said in answers.items()
        }
        self.commands: list[str] = []
        self.mails: list[tuple[list[str], bytes]] = []
        self.connections = 0
        self.port = 0
        self.silent = asyncio.Event()
        self.over = asyncio.Event()

    @property
    def verbs(self) -> list[str]:
        """The commands without their arguments."""
        return [command.split(" ")[0] for command in self.commands]

    @property
    def copies(self) -> list[str]:
        """Every recipient of every mail that came in, as often as it did."""
        return [recipient for recipients, _ in self.mails for recipient in recipients]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold one conversation."""
        self.connections += 1
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._say(writer, "GREETING", "220 test")
        recipients: list[str] = []
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            self.commands.append(line)
            verb = line.split(" ")[0]
            said = await self._say(writer, line, DEFAULTS.get(verb, "250 2.0.0 ok"))
            if verb in {"MAIL", "RSET"}:
                recipients = []
            elif verb == "RCPT" and said.startswith("2"):
                recipients = [*recipients, line.partition("<")[2].partition(">")[0]]
            elif verb == "DATA" and said.startswith("3"):
                mail = await reader.readuntil(b"\r\n.\r\n")
                self.mails.append((recipients, mail[:-3].replace(b"\r\n..", b"\r\n.")))
                await self._say(writer, ".", "250 2.0.0 queued")

    async def _say(self, writer: asyncio.StreamWriter, line: str, said: str) -> str:
        for key in (line, line.partition(" ")[0]):
            if script := self.answers.get(key):
                said = script.pop(0)
                break
        if said == DROP:
            writer.transport.abort()
            raise ConnectionAbortedError
        if said == SILENCE:
            self.silent.set()
            await self.over.wait()
            raise ConnectionAbortedError
        writer.write(f"{said}\r\n".encode("utf-8", "surrogateescape"))
        await writer.drain()
        return said


@asynccontextmanager
async def serving(answers: Mapping[str, str | list[str]] | None = None) -> AsyncGenerator[Server, None]:
    """Run a scripted server."""
    server = Server(answers or {})
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        server.over.set()
        listener.close()
        await listener.wait_closed()


def section(port: int, **changes: Any) -> EmailConfig:
    """Return the section of a channel that talks to a local server without TLS."""
    keys = {"smtp_server": "127.0.0.1", "smtp_port": port, "use_tls": False, "from": "knell@example.com"}
    return EmailConfig.model_validate({**keys, "to": EVERYBODY, **changes})


def opened(
    server: Server, *, require_tls: bool = False, **changes: Any
) -> AbstractAsyncContextManager[EmailChannel]:
    """Run a channel that talks to a server."""
    return running(EmailChannel(section(server.port, **changes)), Security(require_tls=require_tls))


def message(**changes: Any) -> FormattedMessage:
    """Return a message as the templates make it."""
    content = {"subject": "Job failed", "html": "<p>it failed</p>", "text": "it failed"}
    values: dict[str, Any] = {"format": MessageFormat.HTML, "content": content, "id": "msg_1", **changes}
    return FormattedMessage(**values)


def sent(
    answers: Mapping[str, str | list[str]] | None = None, attempts: int = 1, **changes: Any
) -> tuple[list[Outcome], Server]:
    """Make attempts at one message, each with the progress of the one before, and return their outcomes."""

    async def run() -> tuple[list[Outcome], Server]:
        async with serving(answers) as server, opened(server, **changes) as channel:
            return await attempted(channel, message(), attempts), server

    return asyncio.run(run())


def read(mail: bytes) -> EmailMessage:
    """Parse a mail as a receiver does."""
    return message_from_bytes(mail, policy=policy.default)


def test_a_mail_reaches_everybody_in_one_transaction() -> None:
    """One mail, all recipients, and a receipt that names them and the mail."""
    [outcome], server = sent()
    assert outcome == Delivered(
        {"message_id": "<msg_1@example.com>", "accepted": EVERYBODY, "replies": ["250 2.0.0 queued"]}
    )
    [(recipients, mail)] = server.mails
    assert recipients == EVERYBODY
    assert read(mail)["Message-ID"] == "<msg_1@example.com>"
    assert server.commands[0] == "EHLO [127.0.0.1]"
    assert server.commands[1] == f"MAIL FROM:<knell@example.com> SIZE={len(mail)}"


def test_copies_go_out_and_blind_ones_stay_blind() -> None:
    """to, cc and bcc get the mail, each once; no header tells of bcc."""
    _, server = sent(to="Anna <a@example.com>", cc=[B], bcc=[C, A])
    [(recipients, mail)] = server.mails
    assert recipients == EVERYBODY
    assert read(mail)["To"] == "Anna <a@example.com>"
    assert read(mail)["Cc"] == B
    assert C.encode() not in mail


def test_lines_that_begin_with_a_dot_survive() -> None:
    """A lone dot in the text does not end the mail."""

    async def run() -> bytes:
        async with serving() as server, opened(server) as channel:
            await channel.send(message(format=MessageFormat.TEXT, content=".\n..\n.end"))
        return server.mails[0][1]

    assert read(asyncio.run(run())).get_content() == ".\r\n..\r\n.end\r\n"


def test_attachments_are_sent() -> None:
    """A file of any bytes arrives unchanged."""
    content = bytes(range(256)) * 40

    async def run() -> bytes:
        async with serving() as server, opened(server) as channel:
            await channel.send(message(attachments=(Attachment("build.log", content, "text/x-log"),)))
        return server.mails[0][1]

    [attached] = read(asyncio.run(run())).iter_attachments()
    assert attached.get_payload(decode=True) == content


@pytest.mark.parametrize(
    ("answers", "kind", "reason"),
    [
        ({"GREETING": "421 busy"}, Retry, Reason.SERVER_ERROR),
        ({"GREETING": "554 not here"}, Rejected, Reason.CONFIGURATION),
        ({"GREETING": DROP}, Retry, Reason.CONNECTION_ERROR),
        ({"GREETING": "HTTP/1.1 400 Bad Request"}, Retry, Reason.CONNECTION_ERROR),
        ({"EHLO": "421 busy"}, Retry, Reason.SERVER_ERROR),
        ({"EHLO": "550 blocked"}, Rejected, Reason.CONFIGURATION),
        ({"EHLO": DROP}, Retry, Reason.CONNECTION_ERROR),
        ({"MAIL": "421 closing"}, Retry, Reason.SERVER_ERROR),
        ({"MAIL": "452 4.3.1 disk full"}, Retry, Reason.SERVER_ERROR),
        ({"MAIL": "553 5.7.1 not yours"}, Rejected, Reason.CONFIGURATION),
        ({"MAIL": "450 4.7.1 too much mail"}, Retry, Reason.SERVER_ERROR),
        ({"MAIL": "530 5.7.0 log in first"}, Rejected, Reason.AUTHENTICATION),
        ({"MAIL": "538 5.7.11 encrypt first"}, Rejected, Reason.AUTHENTICATION),
        ({"MAIL": "550 5.7.1 sender"}, Rejected, Reason.CONFIGURATION),
        ({"MAIL": "552 5.3.4 size"}, Rejected, Reason.TOO_LARGE),
        ({"MAIL": "554 no"}, Rejected, Reason.REFUSED),
        ({"MAIL": DROP}, Retry, Reason.CONNECTION_ERROR),
        ({"RCPT": "421 closing"}, Retry, Reason.SERVER_ERROR),
        ({"RCPT": "530 5.7.0 log in first"}, Rejected, Reason.AUTHENTICATION),
        ({"RCPT": "550 5.1.8 bad sender's domain"}, Rejected, Reason.CONFIGURATION),
        ({"RCPT": "553 5.7.1 <a@b.c>: Sender address rejected: not yours"}, Rejected, Reason.CONFIGURATION),
        ({"RCPT": "554 5.7.1 <x[192.0.2.1]>: Client host rejected: no"}, Rejected, Reason.CONFIGURATION),
        ({"RCPT": "504 5.5.2 <x>: Helo command rejected: no"}, Rejected, Reason.CONFIGURATION),
        ({"RCPT": DROP}, Retry, Reason.CONNECTION_ERROR),
        ({"DATA": "421 closing"}, Retry, Reason.SERVER_ERROR),
        ({"DATA": "451 later"}, Retry, Reason.SERVER_ERROR),
        ({"DATA": "250 what"}, Retry, Reason.SERVER_ERROR),
        ({"DATA": "554 no"}, Rejected, Reason.REFUSED),
        ({"DATA": DROP}, Retry, Reason.CONNECTION_ERROR),
        ({".": "421 closing"}, Retry, Reason.SERVER_ERROR),
        ({".": "451 later"}, Retry, Reason.SERVER_ERROR),
        ({".": "452 4.3.1 disk full"}, Retry, Reason.SERVER_ERROR),
        ({".": "552 5.3.4 size"}, Rejected, Reason.TOO_LARGE),
        ({".": "554 5.7.1 spam"}, Rejected, Reason.REFUSED),
        ({".": DROP}, Unknown, Reason.CONNECTION_ERROR),
        ({".": "gibberish"}, Unknown, Reason.CONNECTION_ERROR),
    ],
)
def test_the_verdict_table(answers: dict[str, str], kind: type[Outcome], reason: Reason) -> None:
    """What an answer means depends on its first digit and on what it answers."""
    [outcome], server = sent(answers)
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Delivered)
    assert outcome.reason is reason
    assert outcome.progress == {}
    assert outcome.detail
    assert len(server.mails) == ("." in answers)


@pytest.mark.parametrize(
    ("answer", "kind", "reason", "after"),
    [
        ("450 4.2.0 greylisted", Retry, Reason.SERVER_ERROR, 300.0),
        ("451 4.7.1 try later", Retry, Reason.SERVER_ERROR, 300.0),
        ("452 4.2.2 mailbox full", Retry, Reason.SERVER_ERROR, None),
        ("499 strange", Retry, Reason.SERVER_ERROR, None),
        ("550 5.1.1 no such user", Rejected, Reason.RECIPIENT, None),
        ("551 moved", Rejected, Reason.RECIPIENT, None),
        ("552 5.2.2 mailbox full", Rejected, Reason.RECIPIENT, None),
        ("553 name", Rejected, Reason.RECIPIENT, None),
        ("554 5.7.1 relaying denied", Rejected, Reason.RECIPIENT, None),
    ],
)
def test_answers_to_a_single_recipient(
    answer: str, kind: type[Outcome], reason: Reason, after: float | None
) -> None:
    """With nobody else in the mail, the answer to the one recipient is the outcome."""
    [outcome], server = sent({"RCPT": answer}, to=[A])
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Delivered)
    assert (outcome.reason, getattr(outcome, "after", None)) == (reason, after)
    assert outcome.detail == f"{A}: {answer}"
    assert "DATA" not in server.verbs


@pytest.mark.parametrize("answer", ["251 will forward", "252 cannot verify"])
def test_every_2xx_accepts_a_recipient(answer: str) -> None:
    """The first digit decides at RCPT too."""
    [outcome], server = sent({f"RCPT TO:<{A}>": answer})
    assert isinstance(outcome, Delivered)
    assert server.copies == EVERYBODY


def test_a_refused_recipient_does_not_stop_the_others() -> None:
    """The mail goes to those accepted; the delivery dies visibly and names the refused with their codes."""
    [outcome], server = sent({f"RCPT TO:<{B}>": "550 5.1.1 no such user"})
    assert isinstance(outcome, Rejected)
    assert outcome == Rejected(
        Reason.RECIPIENT,
        f"{B}: 550 5.1.1 no such user",
        {"accepted": [A, C], "refused": {B: "550 5.1.1 no such user"}},
    )
    assert outcome.reason.scope is Scope.MESSAGE
    assert server.copies == [A, C]


def test_a_deferred_recipient_alone_is_tried_again() -> None:
    """The next attempt sends the same mail to the rest, and to nobody twice."""
    outcomes, server = sent({f"RCPT TO:<{B}>": ["450 greylisted"]}, attempts=2)
    assert outcomes[0] == Retry(
        Reason.SERVER_ERROR, 300.0, f"{B}: 450 greylisted", {"accepted": [A, C], "refused": {}}
    )
    assert isinstance(outcomes[1], Delivered)
    assert outcomes[1].receipt["accepted"] == [A, C, B]
    assert server.copies == [A, C, B]
    assert len({read(mail)["Message-ID"] for _, mail in server.mails}) == 1


def test_a_replayed_dead_letter_goes_to_the_refused_only() -> None:
    """After the operator made the mailbox, a replay reaches it and disturbs nobody else."""
    outcomes, server = sent({f"RCPT TO:<{B}>": ["550 no such user"]}, attempts=2)
    assert isinstance(outcomes[0], Rejected)
    assert isinstance(outcomes[1], Delivered)
    assert server.copies == [A, C, B]


def test_refused_and_deferred_together_end_as_refused() -> None:
    """The refused one waits until the deferred one is done, and is not tried meanwhile."""
    outcomes, server = sent({f"RCPT TO:<{A}>": "550 no", f"RCPT TO:<{B}>": ["450 later"]}, attempts=2)
    assert isinstance(outcomes[0], Retry)
    assert outcomes[1] == Rejected(
        Reason.RECIPIENT, f"{A}: 550 no", {"accepted": [C, B], "refused": {A: "550 no"}}
    )
    assert server.commands.count(f"RCPT TO:<{A}>") == 1


@pytest.mark.parametrize(
    "code",
    [
        "452 4.5.3 too many recipients",
        "552 too many recipients",
        "452 busy",
        "550 5.5.3 too many",
        "451 4.5.3 too many",
    ],
)
def test_too_many_recipients_go_in_another_transaction_at_once(code: str) -> None:
    """A limit per mail costs no attempt: the rest follows in the same session."""
    [outcome], server = sent({f"RCPT TO:<{B}>": [code], f"RCPT TO:<{C}>": [code, code]})
    assert isinstance(outcome, Delivered)
    assert [recipients for recipients, _ in server.mails] == [[A], [B], [C]]
    assert server.connections == 1
    assert len({read(mail)["Message-ID"] for _, mail in server.mails}) == 1


@pytest.mark.parametrize(
    ("answers", "left"),
    [
        ({f"RCPT TO:<{B}>": ["452 too many"], ".": ["250 ok", "421 closing"]}, [B]),
        ({f"RCPT TO:<{B}>": ["452 too many"], "MAIL": ["250 ok", "451 later"]}, [B]),
        ({f"RCPT TO:<{B}>": ["452 too many"], "DATA": ["354 go", DROP]}, [B]),
    ],
)
def test_what_was_accepted_before_a_failure_stays_accepted(
    answers: dict[str, list[str]], left: list[str]
) -> None:
    """A failure in the second transaction does not send the first one again."""
    outcomes, server = sent(answers, attempts=2)
    assert isinstance(outcomes[0], Retry)
    assert outcomes[0].progress == {"accepted": [A, C], "refused": {}}
    assert isinstance(outcomes[1], Delivered)
    assert server.mails[-1][0] == left
    assert [copy for copy in server.copies if copy not in left] == [A, C]


def test_a_connection_lost_after_the_mail_is_unknown() -> None:
    """The server has the mail; the next attempt carries the same Message-ID so that it can see the copy."""
    outcomes, server = sent({".": [DROP]}, attempts=2)
    assert isinstance(outcomes[0], Unknown)
    assert isinstance(outcomes[1], Delivered)
    assert [recipients for recipients, _ in server.mails] == [EVERYBODY, EVERYBODY]
    assert len({read(mail)["Message-ID"] for _, mail in server.mails}) == 1


def test_recipients_settled_before_the_connection_was_lost_stay_settled() -> None:
    """Of a mail that may have arrived, only those it was for are tried again."""
    outcomes, server = sent({f"RCPT TO:<{A}>": "550 no", ".": [DROP]}, attempts=2)
    assert isinstance(outcomes[0], Unknown)
    assert outcomes[0].progress == {"accepted": [], "refused": {A: "550 no"}}
    assert server.commands.count(f"RCPT TO:<{A}>") == 1


@pytest.mark.parametrize(
    ("answers", "limit", "reason"),
    [
        ({".": [DROP]}, 60.0, Reason.CONNECTION_ERROR),
        ({".": [SILENCE]}, 0.3, Reason.TIMEOUT),
    ],
)
def test_a_mail_that_may_have_arrived_is_held_where_the_section_says_so(
    answers: dict[str, str | list[str]], limit: float, reason: Reason
) -> None:
    """`on_unknown: hold`: no second copy without a person's order, and who has it for sure is known."""
    answers |= {f"RCPT TO:<{A}>": ["550 no"]}
    outcomes, server = sent(answers, attempts=1, on_unknown="hold", timeout_seconds=limit)
    [outcome] = outcomes
    assert isinstance(outcome, Rejected)
    assert outcome.reason is reason
    assert "on_unknown: hold" in outcome.detail
    assert outcome.progress == {"accepted": [], "refused": {A: "550 no"}}
    assert server.copies == [B, C]


def test_holding_changes_nothing_about_what_cannot_have_arrived() -> None:
    """A connection that breaks before the mail is a reason to try again, hold or not."""
    outcomes, server = sent({"DATA": [DROP]}, attempts=2, on_unknown="hold")
    assert isinstance(outcomes[0], Retry)
    assert isinstance(outcomes[1], Delivered)
    assert server.copies == EVERYBODY


@pytest.mark.parametrize(
    ("stage", "words"),
    [("GREETING", "implicit_tls: true"), ("EHLO", "has not let us in"), ("AUTH", "has not let us in")],
)
def test_a_server_that_lets_nobody_in_gets_half_of_the_time(stage: str, words: str) -> None:
    """The words tell a server that never greeted, as one does that waits for TLS, from one that stalls."""
    [outcome], server = sent(
        {"EHLO": "250-test\r\n250 AUTH PLAIN", stage: SILENCE}, timeout_seconds=0.6, **LOGIN
    )
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.TIMEOUT
    assert outcome.detail.startswith(f"127.0.0.1:{server.port} (no TLS) ")
    assert "within 0.3 s" in outcome.detail
    assert words in outcome.detail


def test_the_name_told_to_the_server() -> None:
    """`helo` of the section, for servers that want a name they know."""
    _, server = sent(helo="build.example.com")
    assert server.commands[0] == "EHLO build.example.com"


@pytest.mark.parametrize(
    ("stage", "kind"),
    [
        ("GREETING", Retry),
        ("EHLO", Retry),
        ("MAIL", Retry),
        ("RCPT", Retry),
        ("DATA", Retry),
        (".", Unknown),
    ],
)
def test_a_silent_server_ends_with_the_time_of_the_attempt(stage: str, kind: type[Outcome]) -> None:
    """The deadline is one for the whole attempt; what it means depends on whether the mail had left."""
    [outcome], _ = sent({stage: SILENCE}, timeout_seconds=0.2)
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Delivered)
    assert outcome.reason is Reason.TIMEOUT


def test_a_late_answer_is_not_taken_for_that_of_the_next_mail() -> None:
    """A connection on which an answer is owed is never used again."""
    outcomes, server = sent({"RCPT": [SILENCE]}, attempts=2, timeout_seconds=0.5)
    assert isinstance(outcomes[0], Retry)
    assert isinstance(outcomes[1], Delivered)
    assert server.connections == 2


def test_a_cancelled_attempt_leaves_no_connection_behind() -> None:
    """The actor is stopped in the middle of a mail: the next mail gets a new connection."""

    async def run() -> tuple[int, Outcome]:
        async with serving({"DATA": [SILENCE]}) as server, opened(server) as channel:
            attempt = asyncio.create_task(channel.send(message()))
            await server.silent.wait()
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt
            return server.connections, await channel.send(message())

    connections, outcome = asyncio.run(run())
    assert connections == 1
    assert isinstance(outcome, Delivered)


def test_nobody_listening_is_tried_again() -> None:
    """A refused connection is nobody's fault."""

    async def run() -> Outcome:
        async with serving() as server:
            pass
        async with opened(server) as channel:
            return await channel.send(message())

    outcome = asyncio.run(run())
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.CONNECTION_ERROR


def test_connections_are_kept() -> None:
    """One after the other, mails share a connection."""

    async def run() -> Server:
        async with serving() as server, opened(server) as channel:
            for number in range(5):
                assert isinstance(await channel.send(message(id=f"msg_{number}")), Delivered)
        return server

    server = asyncio.run(run())
    assert server.connections == 1
    assert server.verbs == ["EHLO", *["MAIL", "RCPT", "RCPT", "RCPT", "DATA"] * 5, "QUIT"]


def test_mails_at_once_use_connections_of_their_own() -> None:
    """Two mails never mix on one connection, and no more connections are opened than mails are under way."""

    async def run() -> tuple[list[Outcome], Server]:
        async with serving() as server, opened(server) as channel:
            first = await asyncio.gather(*(channel.send(message(id=f"a{number}")) for number in range(4)))
            again = await asyncio.gather(*(channel.send(message(id=f"b{number}")) for number in range(4)))
        return [*first, *again], server

    outcomes, server = asyncio.run(run())
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    assert server.connections == 4
    assert sorted(read(mail)["Message-ID"] for _, mail in server.mails) == sorted(
        f"<{name}{number}@example.com>" for name in "ab" for number in range(4)
    )
    assert all(recipients == EVERYBODY for recipients, _ in server.mails)


@pytest.mark.parametrize("end", [DROP, "421 too long idle"])
def test_a_kept_connection_that_was_closed_is_replaced(end: str) -> None:
    """The server ended the session between two mails: the second goes over a new one, in the same attempt."""
    outcomes, server = sent({"MAIL": ["250 ok", end]}, attempts=2)
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    assert server.connections == 2
    assert len(server.mails) == 2


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "."])
def test_after_a_421_the_connection_is_given_up(stage: str) -> None:
    """The server says that it closes: the next attempt does not wait for it to do so."""
    outcomes, server = sent({stage: ["421 closing"]}, attempts=2)
    assert isinstance(outcomes[0], Retry)
    assert isinstance(outcomes[1], Delivered)
    assert server.connections == 2


def test_an_envelope_left_open_is_reset_before_the_next_mail() -> None:
    """After a transaction without DATA the server still holds a sender."""
    _, server = sent({"RCPT": ["450 later"]}, attempts=2, to=[A])
    assert server.verbs == ["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA", "QUIT"]


def test_a_mail_over_the_announced_size_is_not_sent() -> None:
    """The server's SIZE is believed before megabytes go over the wire."""
    [outcome], server = sent({"EHLO": "250-test\r\n250 SIZE 50"})
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.TOO_LARGE
    assert server.verbs == ["EHLO", "QUIT"]


@pytest.mark.parametrize("extensions", ["250 test", "250-test\r\n250 SIZE", "250-test\r\n250 SIZE 0"])
def test_without_a_size_any_mail_is_tried(extensions: str) -> None:
    """No SIZE, or one without a number, or zero, means no limit known beforehand."""
    [outcome], _ = sent({"EHLO": extensions})
    assert isinstance(outcome, Delivered)


LOGIN: dict[str, Any] = {"username": "knell", "password": "s3cret-pass"}
PLAIN = b64encode(b"\0knell\0s3cret-pass").decode()


@pytest.mark.parametrize(
    ("offer", "commands"),
    [
        ("PLAIN LOGIN", [f"AUTH PLAIN {PLAIN}"]),
        ("LOGIN", [f"AUTH LOGIN {b64encode(b'knell').decode()}", b64encode(b"s3cret-pass").decode()]),
    ],
)
def test_logging_in(offer: str, commands: list[str]) -> None:
    """The first method the server knows is used, once per connection."""
    answers = {"EHLO": f"250-test\r\n250 AUTH {offer}", commands[-1].split(" ")[0]: "235 in"}
    if len(commands) > 1:
        answers[commands[0]] = "334 UGFzc3dvcmQ6"
    [outcome], server = sent(answers, **LOGIN)
    assert isinstance(outcome, Delivered)
    assert server.commands[1 : 1 + len(commands)] == commands
    assert server.verbs[1 + len(commands)] == "MAIL"


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        ("535 5.7.8 wrong", Rejected, Reason.AUTHENTICATION),
        ("534 5.7.9 too weak", Rejected, Reason.AUTHENTICATION),
        ("538 5.7.11 encrypt", Rejected, Reason.AUTHENTICATION),
        ("530 5.7.0 first STARTTLS", Rejected, Reason.AUTHENTICATION),
        ("500 unrecognized", Rejected, Reason.AUTHENTICATION),
        ("454 4.7.0 later", Retry, Reason.SERVER_ERROR),
        ("421 closing", Retry, Reason.SERVER_ERROR),
        (DROP, Retry, Reason.CONNECTION_ERROR),
    ],
)
def test_a_login_that_fails(answer: str, kind: type[Outcome], reason: Reason) -> None:
    """A wrong password is tried once: servers lock accounts over more."""
    offer = {"EHLO": "250-test\r\n250 AUTH CRAM-MD5 LOGIN PLAIN", "AUTH": answer}
    [outcome], server = sent(offer, **LOGIN)
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Delivered)
    assert outcome.reason is reason
    assert server.verbs == ["EHLO", "AUTH"]


@pytest.mark.parametrize("offer", ["250 test", "250-test\r\n250 AUTH GSSAPI"])
def test_a_server_without_a_login_we_know(offer: str) -> None:
    """Credentials that cannot be used are a mistake of the configuration, not of the message."""
    [outcome], _ = sent({"EHLO": offer}, **LOGIN)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.AUTHENTICATION


def test_no_login_without_tls_unless_allowed() -> None:
    """The password would be readable on the way: not even a connection is made."""
    [outcome], server = sent({}, require_tls=True, **LOGIN)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.CONFIGURATION
    assert server.connections == 0


def test_no_login_is_needed_without_tls() -> None:
    """A relay in the own network wants neither."""
    [outcome], _ = sent({}, require_tls=True)
    assert isinstance(outcome, Delivered)


@pytest.mark.parametrize("stage", ["GREETING", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "."])
def test_no_detail_holds_a_secret(stage: str) -> None:
    """Not even when the server repeats what it was told."""
    said = f"500 unrecognized AUTH PLAIN {PLAIN}" if stage == "AUTH" else "554 no"
    offer = {"EHLO": "250-test\r\n250 AUTH PLAIN", stage: said}
    [outcome], _ = sent(offer, **LOGIN)
    told = msgspec.json.encode(outcome).decode()
    assert "s3cret" not in told
    assert PLAIN not in told
    assert "s3cret" not in repr(section(25, **LOGIN))


def test_words_of_the_server_are_tamed() -> None:
    """Bytes that are no text, and control characters, do not reach a log or a store."""
    [outcome], _ = sent({"RCPT": "550 \x1b[31m\udcff\udcfe no"}, to=[A])
    assert isinstance(outcome, Rejected)
    assert outcome.detail == f"{A}: 550 [31m no"
    msgspec.json.encode(outcome)


@settings(max_examples=40, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            address: st.lists(
                st.sampled_from(["250 ok", "450 later", "452 many", "550 no", "552 many", "421 bye", DROP]),
                max_size=3,
            )
            for address in EVERYBODY
        }
    ),
    st.lists(st.sampled_from(["250 ok", "451 later", "421 bye", "354 go"]), max_size=2),
)
def test_nobody_gets_a_mail_twice(recipients: dict[str, list[str]], ends: list[str]) -> None:
    """Whatever is refused, deferred or broken off: without a lost answer nobody gets two copies."""
    ends = [end if end != "354 go" else "250 ok" for end in ends]
    answers = {f"RCPT TO:<{address}>": script for address, script in recipients.items()} | {".": ends}

    async def run() -> tuple[Outcome, list[str], int]:
        async with serving(answers) as server, opened(server) as channel:
            outcome: Outcome = await channel.send(message())
            while isinstance(outcome, Retry):
                outcome = await channel.send(message(progress=dict(outcome.progress)))
        return outcome, server.copies, sum(end != "250 ok" for end in ends)

    outcome, copies, rejected_ends = asyncio.run(run())
    assert isinstance(outcome, Delivered | Rejected)
    settled = outcome.receipt if isinstance(outcome, Delivered) else outcome.progress
    accepted, refused = settled["accepted"], settled.get("refused", [])
    assert sorted([*accepted, *refused]) == EVERYBODY
    for address in EVERYBODY:
        assert copies.count(address) <= (address in accepted) + rejected_ends


def test_health_is_a_login() -> None:
    """The check goes as far as it can without sending mail."""

    async def run() -> tuple[bool, bool, str, list[str]]:
        login: dict[str, str | list[str]] = {
            "EHLO": "250-test\r\n250 AUTH PLAIN",
            "AUTH": ["235 in", "535 no"],
            "RSET": ["250 ok", DROP],
        }
        async with serving(login) as server:
            async with opened(server, **LOGIN) as channel:
                good = await channel.health_check()
            async with opened(server, **LOGIN) as channel:
                bad = await channel.health_check()
        return good.healthy, bad.healthy, bad.detail, server.verbs

    good, bad, detail, verbs = asyncio.run(run())
    assert good
    assert not bad
    assert "535" in detail
    assert verbs == ["EHLO", "AUTH", "RSET", "QUIT", "EHLO", "AUTH"]


@pytest.mark.parametrize(
    ("answers", "change", "words"),
    [
        ({"AUTH": "535 5.7.8 no"}, {}, "check username and password"),
        ({"AUTH": "534 5.7.9 no"}, {}, "app password"),
        ({"AUTH": "530 5.7.0 no"}, {}, "use_tls: true"),
        ({"EHLO": "250 test"}, {}, "use_tls: true"),
        ({"EHLO": "250 test"}, {"use_tls": True}, "offers no STARTTLS"),
        ({"EHLO": "250 test"}, {"use_tls": True}, "implicit_tls: true"),
        ({}, {"use_tls": True, "implicit_tls": True}, "the port does not begin with TLS"),
        ({"GREETING": "554 no"}, {}, "ask whoever runs it"),
        ({"EHLO": "550 no"}, {}, "helo"),
        ({"GREETING": SILENCE}, {"timeout_seconds": 0.4}, "firewall"),
        (
            {"GREETING": "HTTP/1.1 400 Bad Request"},
            {},
            "does not speak SMTP: check smtp_server and",
        ),
    ],
)
def test_health_says_what_to_do(answers: dict[str, str], change: dict[str, Any], words: str) -> None:
    """What `knell test` shows of a section that does not work: the key to change, in words."""

    async def run() -> str:
        offer = {"EHLO": "250-test\r\n250 AUTH PLAIN", **answers}
        async with serving(offer) as server, opened(server, **{**LOGIN, **change}) as channel:
            health = await channel.health_check()
            assert not health.healthy
            return health.detail

    assert words in asyncio.run(run())


def test_health_where_nobody_listens() -> None:
    """The two keys that may be wrong."""

    async def run() -> str:
        async with serving() as server:
            pass
        async with opened(server) as channel:
            return (await channel.health_check()).detail

    assert "nobody listens there: check smtp_server and smtp_port" in asyncio.run(run())


@pytest.mark.parametrize("end", [DROP, SILENCE, "500 what"])
def test_health_of_a_server_that_gives_no_answer(end: str) -> None:
    """A server that breaks off, or says nothing, is not healthy."""

    async def run() -> tuple[bool, str]:
        async with serving({"RSET": end}) as server, opened(server, timeout_seconds=0.3) as channel:
            health = await channel.health_check()
            return health.healthy, health.detail

    healthy, detail = asyncio.run(run())
    assert not healthy
    assert detail
