"""The section of an SMS channel: what the specification writes, and every mistake by its key."""

from typing import Any

import pytest
from pydantic import ValidationError

from knell.channels.registry import find
from knell.channels.sms import SmsChannel
from knell.channels.sms_config import SmsConfig

A = "+819012345671"

GOOD: dict[str, Any] = {
    "account_sid": "AC0123456789abcdef0123456789abcdef",
    "auth_token": "token",
    "from_number": "+15005550006",
    "to_numbers": ["+819012345678"],
}


def test_the_section_of_the_specification_is_valid() -> None:
    """Its keys and values, and the defaults of what it leaves out; its made-up number earns a warning."""
    config = SmsConfig.model_validate(
        {
            "enabled": False,
            "provider": "twilio",
            "account_sid": "AC1",
            "auth_token": "token",
            "from_number": "+1234567890",
            "to_numbers": ["+819012345678"],
            "events": ["job_failed"],
            "filters": [{"severity": ["critical"]}],
        }
    )
    assert (config.max_segments, config.validity_period_seconds) == (3, 14_400)
    assert config.rate_limit is not None
    assert (config.rate_limit.max_requests, config.rate_limit.window_seconds) == (1, 1.0)
    [problem] = SmsChannel(config).validate_config()
    assert problem.startswith("+1234567890 is not a valid North American number")
    assert SmsChannel(SmsConfig.model_validate(GOOD)).validate_config() == []


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"to_numbers": []}, "to_numbers"),
        ({"to_numbers": ["09012345678"]}, "to_numbers.0"),
        ({"to_numbers": ["+0123456"]}, "to_numbers.0"),
        ({"to_numbers": ["+81 90 1234 5678"]}, "to_numbers.0"),
        ({"to_numbers": ["+1234567890123456"]}, "to_numbers.0"),
        ({"to_numbers": ["+8190123456\uff17\uff18"]}, "to_numbers.0"),
        ({"to_numbers": ["+819012345678\n"]}, "to_numbers.0"),
        ({"from_number": ""}, ""),
        ({"from_number": "0312345678901"}, "from_number"),
        ({"from_number": "a sender name that is long"}, "from_number"),
        ({"messaging_service_sid": "AC1"}, "messaging_service_sid"),
        ({"account_sid": "AC1/../x"}, "account_sid"),
        ({"auth_token": ""}, "auth_token"),
        ({"provider": "other"}, "provider"),
        ({"max_segments": 11}, "max_segments"),
        ({"validity_period_seconds": 0}, "validity_period_seconds"),
        ({"validity_period_seconds": 36_001}, "validity_period_seconds"),
        ({"api_base_url": "ftp://example.com"}, "api_base_url"),
        ({"budget": {"per_day": 0}}, "budget.per_day"),
        ({"budget": {"currency": "dollars"}}, "budget.currency"),
        ({"status_callback_url": "https://my_host.example.com/ingest/twilio"}, "status_callback_url"),
        ({"status_callback_url": "https://a.example.com/ingest/twilio?x=1"}, "status_callback_url"),
        ({"status_callback_url": "https://a.example.com/ingest/twilio#x"}, "status_callback_url"),
        ({"status_callback_url": "a.example.com"}, "status_callback_url"),
        ({"opted_in": {A: "2026-12-01T09:00:00"}}, f"opted_in.{A}"),
        ({"opted_in": {"0901": "2026-12-01T09:00:00Z"}}, "opted_in.0901.[key]"),
    ],
)
def test_mistakes_in_the_section_are_named(change: dict[str, Any], place: str) -> None:
    """Each is refused when the configuration is read, by its key."""
    with pytest.raises(ValidationError) as refusal:
        SmsConfig.model_validate(GOOD | change)
    [found] = refusal.value.errors()
    assert ".".join(map(str, found["loc"])) == place


US: dict[str, Any] = {"to_numbers": ["+15005550001"]}
QUESTIONABLE: list[tuple[dict[str, Any], list[str]]] = [
    ({"budget": {"per_day": 5.0, "price_per_segment": 0.09}}, []),
    (US | {"budget": {"per_day": 5.0}}, []),
    (US | {"budget": {}}, []),
    ({"budget": {"per_day": 5.0}}, ["budget.price_per_segment: 0.0083 USD is the price to US numbers"]),
    (US | {"budget": {"per_day": 5.0, "currency": "EUR"}}, ["budget.price_per_segment: 0.0083 USD"]),
    (
        {"budget": {"per_day": 0.3, "price_per_segment": 0.1}},
        ["budget.per_day: one message of 3"],
    ),
]


@pytest.mark.parametrize(("change", "problems"), QUESTIONABLE)
def test_a_budget_that_cannot_be_meant(change: dict[str, Any], problems: list[str]) -> None:
    """The price of another country, and a day that cannot pay for one message."""
    found = SmsChannel(SmsConfig.model_validate(GOOD | change)).validate_config()
    assert len(found) == len(problems)
    for said, expected in zip(found, problems, strict=True):
        assert said.startswith(expected)


def test_the_budget_of_the_documentation() -> None:
    """A fifth is kept for critical events; the currency is the section's."""
    config = SmsConfig.model_validate(GOOD | {"budget": {"per_day": 5.00, "currency": "USD"}})
    assert config.currency == "USD"
    assert (config.money.limit(critical=False), config.money.limit(critical=True)) == (4.0, 5.0)
    assert SmsConfig.model_validate(GOOD).currency == ""


@pytest.mark.parametrize("sender", ["+15005550006", "12345", "NecroCode"])
def test_senders_may_be_numbers_short_codes_or_names(sender: str) -> None:
    """What Twilio takes as `From`."""
    assert SmsConfig.model_validate(GOOD | {"from_number": sender}).from_number == sender


def test_one_number_may_be_written_as_text() -> None:
    """`to_numbers: "+81..."` needs no list."""
    assert SmsConfig.model_validate(GOOD | {"to_numbers": A}).to_numbers == [A]


def test_sms_is_a_built_in_type() -> None:
    """`type: sms` finds this channel, with the specification's default events."""
    assert find("sms") is SmsChannel
    assert SmsChannel.default_events == {"job_failed", "system_alert"}
