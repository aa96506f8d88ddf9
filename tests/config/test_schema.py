from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from knell.config.schema import (
    ChannelConfig,
    Http,
    NotificationConfig,
    OpenChannelConfig,
    RateLimit,
    RetryPolicy,
    Security,
)
from knell.filters import EVERYTHING, Condition


def test_the_defaults_are_those_of_the_specification() -> None:
    """Written values and defaults are obeyed exactly; the packaged file sets a longer horizon."""
    policy = RetryPolicy()
    assert (policy.max_retries, policy.initial_delay_ms, policy.max_delay_ms) == (3, 1000, 30_000)
    assert policy.backoff_multiplier == 2.0
    assert set(policy.retry_on_errors) == {"timeout", "connection_error", "rate_limit", "server_error"}
    channel = ChannelConfig()
    assert (channel.batch.enabled, channel.batch.max_batch_size, channel.batch.max_wait_seconds) == (
        False,
        10,
        30,
    )
    breaker = channel.circuit_breaker
    assert (breaker.failure_threshold, breaker.timeout_seconds, breaker.success_threshold) == (5, 60, 2)


class _Mine(OpenChannelConfig):
    token: SecretStr = SecretStr("secret")


def test_a_section_reads_as_a_mapping_with_secrets_as_text() -> None:
    """A third party's channel needs no pydantic to use its keys."""
    section = _Mine.model_validate({"name": "a", "region": "eu"})
    assert (section["token"], section["region"], section["name"]) == ("secret", "eu", "a")
    assert (section.get("region"), section.get("zone"), section.get("zone", 5)) == ("eu", None, 5)
    assert "region" in section
    assert "token" in section
    assert "zone" not in section


def test_filters_are_read_once() -> None:
    """From the file's form, or as they are when a program has them already."""
    condition = Condition(("source",), "eq", "ci")
    assert ChannelConfig.model_validate({"filters": {"source": "ci"}}).filters == condition
    assert ChannelConfig(filters=condition).filters is condition
    assert ChannelConfig.model_validate({"filters": None}).filters == EVERYTHING
    assert ChannelConfig().filters == EVERYTHING


def test_one_name_stands_for_a_list_of_one() -> None:
    """`fallback: email` is what people write."""
    section = ChannelConfig.model_validate({"fallback": "email", "events": "job_failed"})
    assert (section.fallback, section.events) == (["email"], ["job_failed"])


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:8321", ("127.0.0.1", 8321)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:80", ("::1", 80)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),  # noqa: S104 - an address to read, not to bind
    ],
)
def test_an_address_has_a_host_and_a_port(listen: str, address: tuple[str, int]) -> None:
    """An IPv6 address stands in brackets."""
    assert Http(listen=listen).address == address


@pytest.mark.parametrize(
    "listen", ["", "8321", ":8321", "host", "host:", "host:x", "host:65536", "::1:80", "a b:1"]
)
def test_what_is_no_address_is_refused(listen: str) -> None:
    """With words of ours and without the value."""
    with pytest.raises(ValidationError, match="expected host:port") as caught:
        Http(listen=listen)
    assert not listen or f"'{listen}'" not in str(caught.value)


def test_networks_are_read_in_both_families() -> None:
    """As the guard of outgoing connections compares them."""
    security = Security.model_validate({"allowed_networks": ["10.0.0.0/8", "fd00::/8", "192.0.2.1"]})
    assert [str(network) for network in security.allowed_networks] == [
        "10.0.0.0/8",
        "fd00::/8",
        "192.0.2.1/32",
    ]


@pytest.mark.parametrize("value", ["yes", "no", "on", "off", "1", "t", 1, 0, None, "TRUE "])
def test_only_true_and_false_are_switches(value: Any) -> None:
    """Pydantic takes all of these for a switch, which is what YAML 1.2 has ended."""
    with pytest.raises(ValidationError, match="expected true or false"):
        ChannelConfig.model_validate({"enabled": value})


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("False", False), ("TRUE", True), (False, False)]
)
def test_true_and_false_may_come_as_text(value: Any, expected: bool) -> None:  # noqa: FBT001 - a row
    """From the environment everything is text."""
    assert ChannelConfig.model_validate({"enabled": value}).enabled is expected


def test_true_is_no_number() -> None:
    """Pydantic takes it for 1."""
    with pytest.raises(ValidationError, match="expected a number, got true or false"):
        ChannelConfig.model_validate({"concurrency": True})


class _Limited(ChannelConfig):
    rate_limit: RateLimit | None = RateLimit(max_requests=1)


def test_rate_limits_reach_the_channels_of_a_configuration_made_by_a_program() -> None:
    """A type's own default gives way; what the section says does not."""
    limit = RateLimit(max_requests=9)
    config = NotificationConfig(
        channels={"a": _Limited(), "b": _Limited(rate_limit=RateLimit(max_requests=5)), "c": ChannelConfig()},
        rate_limits={"a": limit, "b": limit, "missing": limit},
    )
    limits = {name: section.rate_limit for name, section in config.channels.items()}
    assert limits == {"a": limit, "b": RateLimit(max_requests=5), "c": None}


def test_a_section_never_changes() -> None:
    """Actors on other threads read it."""
    with pytest.raises(ValidationError):
        ChannelConfig().enabled = False  # pyright: ignore[reportAttributeAccessIssue] - the point
