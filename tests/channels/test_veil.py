"""What a channel says in confidence is masked, wherever it comes up."""

from traceback import format_exception
from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr

from knell.channels.base import ChannelConfig, Delivered, OpenChannelConfig, Outcome, Reason, Rejected, Retry
from knell.channels.http import SecretUrl
from knell.channels.veil import Veil
from knell.errors import ChannelError


class Login(BaseModel):
    """Something nested."""

    password: SecretStr


class PagerConfig(ChannelConfig):
    """A third party's section."""

    url: SecretUrl
    logins: tuple[Login, ...] = ()
    headers: dict[str, SecretStr] = Field({})
    room: str = "lobby-room"


VEIL = Veil(
    PagerConfig.model_validate(
        {
            "url": "https://pager.example/hooks/T0P5ECRET?key=also%20hidden",
            "logins": [{"password": "hunter22"}],
            "headers": {"X-Key": "k-9f8e7d"},
        }
    )
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("POST https://pager.example/hooks/T0P5ECRET?key=also%20hidden failed", "POST *** failed"),
        ("GET /hooks/T0P5ECRET: 404", "GET ***: 404"),
        ("Cannot connect to host pager.example:443", "Cannot connect to host pager.example:443"),
        ("key 'also hidden' is wrong", "key '***' is wrong"),
        ("login hunter22 / k-9f8e7d refused in lobby-room", "login *** / *** refused in lobby-room"),
        ("", ""),
    ],
)
def test_secrets_are_masked_and_nothing_else(said: str, shown: str) -> None:
    """Whole addresses, their parts, nested values; a host and a room are no secrets."""
    assert VEIL.text(said) == shown


@pytest.mark.parametrize(
    "outcome", [Retry(Reason.TIMEOUT, 3.0, "hunter22"), Rejected(Reason.REFUSED, "hunter22")]
)
def test_an_outcome_keeps_everything_but_the_secret(outcome: Any) -> None:
    """Its reason and its wait stay."""
    masked: Any = VEIL.outcome(outcome)
    assert (masked.detail, masked.reason) == ("***", outcome.reason)


@pytest.mark.parametrize("outcome", [Delivered({"id": 1}, "fine"), Delivered(), Retry(Reason.TIMEOUT)])
def test_what_holds_no_secret_is_the_same_object(outcome: Outcome) -> None:
    """Nothing is copied for nothing."""
    assert VEIL.outcome(outcome) is outcome


def test_a_receipt_is_masked_wherever_it_says_a_secret() -> None:
    """It is stored and shown; numbers and order stay."""
    outcome = Delivered({"at": ["hunter22", 1, {"k-9f8e7d": None}]}, "fine")
    assert VEIL.outcome(outcome) == Delivered({"at": ["***", 1, {"***": None}]}, "fine")


def test_what_leaves_a_covered_block_says_no_secret() -> None:
    """An error that says none is itself."""
    with pytest.raises(ChannelError, match=r"^ValueError: \*\*\*$") as caught, VEIL.over():
        raise ValueError("hunter22")
    assert "hunter22" not in "".join(format_exception(caught.value))
    with pytest.raises(ValueError, match="a bug"), VEIL.over():
        raise ValueError("a bug")


def test_an_error_that_says_a_secret_is_replaced() -> None:
    """Also when its cause says it; the traceback stays readable."""
    error = RuntimeError("could not page")
    error.__cause__ = ConnectionError("https://pager.example/hooks/T0P5ECRET?key=also%20hidden is down")
    shown, traceback = VEIL.error(error)
    assert isinstance(shown, ChannelError)
    assert str(shown) == "RuntimeError: could not page"
    assert shown.__cause__ is None
    assert "ConnectionError: *** is down" in traceback
    assert "T0P5ECRET" not in traceback


def test_an_error_without_secrets_is_itself() -> None:
    """With its traceback as it is."""
    error = RuntimeError("a bug")
    assert VEIL.error(error) == (error, "RuntimeError: a bug\n")


def test_where_no_schema_says_what_is_secret_the_names_of_keys_do() -> None:
    """A third party that declares none."""
    keys = {"api_token": "abcdef123", "urls": ["json://user:pw@host/p4th-of-it"], "room": "lobby-room"}
    veil = Veil(OpenChannelConfig.model_validate(keys))
    said = "abcdef123 at json://user:pw@host/p4th-of-it in lobby-room"
    assert veil.text(said) == "*** at *** in lobby-room"


def test_a_section_without_secrets_masks_nothing() -> None:
    """A short one is none: it would be found in every other word."""
    assert Veil(OpenChannelConfig.model_validate({"token": "a"})).text("a b c") == "a b c"
