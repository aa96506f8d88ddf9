"""Every answer of a mail server and its class, by the stage it comes at."""

import socket
import ssl

import msgspec
import pytest

from knell.channels.smtp_verdicts import Reply, Stage, lost, refused, timed_out
from knell.messages import Outcome, Reason, Rejected, Retry, Scope, Unknown


def verdict(stage: Stage, code: int, text: str = "no") -> Retry | Rejected | Unknown:
    """Return the outcome of a negative answer."""
    return refused(stage, Reply(code, text)).outcome


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("code", [421, 450, 451, 452, 454, 499])
def test_temporary_answers_are_tried_again(stage: Stage, code: int) -> None:
    """The first digit decides: any 4xx is worth another attempt."""
    outcome = verdict(stage, code)
    assert isinstance(outcome, Retry)
    assert outcome.reason.scope is Scope.TRANSIENT


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("code", [530, 534, 535, 538])
def test_a_login_that_is_wrong_or_missing_blames_the_channel(stage: Stage, code: int) -> None:
    """No message is used up by bad credentials, wherever the server says so."""
    assert verdict(stage, code) == Rejected(Reason.AUTHENTICATION, refused(stage, Reply(code, "no")).args[0])


@pytest.mark.parametrize(
    ("stage", "code", "text", "reason"),
    [
        (Stage.GREETING, 554, "no SMTP service here", Reason.CONFIGURATION),
        (Stage.GREETING, 550, "we block you", Reason.CONFIGURATION),
        (Stage.TLS, 501, "syntax", Reason.TLS),
        (Stage.AUTH, 535, "5.7.8 wrong", Reason.AUTHENTICATION),
        (Stage.AUTH, 500, "what", Reason.AUTHENTICATION),
        (Stage.MAIL, 550, "5.7.1 sender refused", Reason.CONFIGURATION),
        (Stage.MAIL, 553, "5.7.1 not your address", Reason.CONFIGURATION),
        (Stage.MAIL, 552, "5.3.4 too big", Reason.TOO_LARGE),
        (Stage.MAIL, 555, "parameters", Reason.REFUSED),
        (Stage.DATA, 552, "5.3.4 too big", Reason.TOO_LARGE),
        (Stage.DATA, 554, "5.7.1 spam", Reason.REFUSED),
        (Stage.DATA, 550, "5.7.1 spam", Reason.REFUSED),
        (Stage.DATA, 554, "4.7.1 the digits disagree", Reason.REFUSED),
    ],
)
def test_permanent_answers(stage: Stage, code: int, text: str, reason: Reason) -> None:
    """Who is to blame for a 5xx depends on the stage; the basic digit wins over the enhanced one."""
    outcome = verdict(stage, code, text)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is reason


@pytest.mark.parametrize("code", [-1, 0, 199, 354, 999])
def test_nonsense_is_nobodys_fault(code: int) -> None:
    """An answer outside SMTP is tried again: it says nothing about the message."""
    assert isinstance(verdict(Stage.MAIL, code), Retry)


def test_an_answer_to_the_login_is_not_repeated() -> None:
    """Some servers echo the command, which holds the password."""
    assert "c2VjcmV0" not in verdict(Stage.AUTH, 500, "unrecognized AUTH PLAIN c2VjcmV0").detail
    assert "535" in verdict(Stage.AUTH, 535).detail


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("5.1.1 no such user", "550 5.1.1 no such user"),
        ("two\nlines\r\n", "550 two lines"),
        ("\x1b[31mred\x00\udcff", "550 [31mred"),
        ("", "550"),
        ("x" * 1000, "550 " + "x" * 196),
    ],
)
def test_words_of_a_server_are_tamed(text: str, words: str) -> None:
    """What a server says comes as one short line without control characters."""
    assert Reply(550, text).words == words


@pytest.mark.parametrize(
    ("error", "in_doubt", "outcome"),
    [
        (ConnectionRefusedError(), False, Retry(Reason.CONNECTION_ERROR)),
        (ConnectionResetError(), False, Retry(Reason.CONNECTION_ERROR)),
        (None, False, Retry(Reason.CONNECTION_ERROR)),
        (ConnectionResetError(), True, Unknown(Reason.CONNECTION_ERROR)),
        (socket.gaierror(socket.EAI_AGAIN, "again"), False, Retry(Reason.CONNECTION_ERROR)),
        (socket.gaierror(socket.EAI_NONAME, "none"), False, Retry(Reason.CONNECTION_ERROR, 300.0)),
        (ssl.SSLError(1, "wrong version"), False, Rejected(Reason.TLS)),
        (ssl.SSLEOFError(8, "EOF"), False, Retry(Reason.CONNECTION_ERROR)),
        (ssl.SSLError(1, "bad record"), True, Unknown(Reason.CONNECTION_ERROR)),
    ],
)
def test_broken_connections(error: Exception | None, in_doubt: bool, outcome: Outcome) -> None:  # noqa: FBT001
    """Before the mail was written nothing can have arrived; after it the server may have it."""
    found = lost(error, in_doubt=in_doubt).outcome
    assert found.detail
    assert msgspec.structs.replace(found, detail="") == outcome


def test_time_that_ran_out() -> None:
    """Also judged by whether the mail had been sent."""
    assert isinstance(timed_out(in_doubt=False), Retry)
    assert isinstance(timed_out(in_doubt=True), Unknown)
    assert timed_out(in_doubt=True).reason is Reason.TIMEOUT
