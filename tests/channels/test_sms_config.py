"""The section of an SMS channel: what the specification writes, and every mistake by its key."""

from typing import Any

import pytest
from pydantic import ValidationError

from knell.channels.registry import find
from knell.channels.sms import SmsChannel, SmsConfig

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
    ],
)
def test_mistakes_in_the_section_are_named(change: dict[str, Any], place: str) -> None:
    """Each is refused when the configuration is read, by its key."""
    with pytest.raises(ValidationError) as refusal:
        SmsConfig.model_validate(GOOD | change)
    [found] = refusal.value.errors()
    assert ".".join(map(str, found["loc"])) == place


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
