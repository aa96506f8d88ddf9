from typing import Annotated

import pytest
from pydantic import AfterValidator, AliasChoices, BaseModel, Field, SecretStr

from knell.config.fields import is_secret, keys, model_at
from knell.config.schema import Backoff, ChildConfig, NotificationConfig, RoutingRule, Supervision
from knell.config.tree import Loc


class _Inner(BaseModel):
    token: SecretStr = SecretStr("")
    url: str = ""


class _Outer(BaseModel):
    sender: str = Field(default="", alias="from")
    both: int = Field(default=0, validation_alias=AliasChoices("new", "old"))
    inner: _Inner | None = None
    several: Annotated[list[Annotated[SecretStr, AfterValidator(lambda value: value)]] | None, "x"] = None
    headers: dict[str, SecretStr] = Field(default={})
    table: dict[str, list[_Inner]] = Field(default={})
    plain: dict[str, str] = Field(default={})


def test_keys_are_called_as_in_the_file() -> None:
    """An alias instead of the attribute's name, and all of several."""
    assert list(keys(_Outer)) == ["from", "new", "old", "inner", "several", "headers", "table", "plain"]
    assert keys(_Outer)["new"] is keys(_Outer)["old"]


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ((), NotificationConfig),
        (("supervision",), Supervision),
        (("supervision", "backoff"), Backoff),
        (("supervision", "children", "slack"), ChildConfig),
        (("supervision", "children", "backoff"), ChildConfig),
        (("supervision", "children", "backoff", "backoff"), Backoff),
        (("event_routing", 3), RoutingRule),
        (("event_routing",), None),
        (("supervision", "children"), None),
        (("sources", 0, "x"), None),
        (("zzz", "zzz"), None),
    ],
)
def test_the_model_at_a_path(path: Loc, model: type[BaseModel] | None) -> None:
    """A name in a mapping is no key of the model below, even when it is called like one."""
    assert model_at(NotificationConfig, path) is model


@pytest.mark.parametrize(
    ("path", "secret"),
    [
        ((), False),
        (("from",), False),
        (("inner",), False),
        (("inner", "token"), True),
        (("inner", "url"), False),
        (("inner", "token", "wrong", 0), True),
        (("several",), True),
        (("several", 0), True),
        (("headers", "X"), True),
        (("table", "a", 0, "token"), True),
        (("table", "a", 0, "url"), False),
        (("plain", "token"), False),
        (("zzz", 0), False),
    ],
)
def test_what_stands_below_a_credential_is_one(path: Loc, secret: bool) -> None:  # noqa: FBT001 - a row
    """Also where it has the wrong shape, for that is when it would be shown."""
    assert is_secret(_Outer, path) is secret
