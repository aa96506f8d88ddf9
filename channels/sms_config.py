"""The section of an SMS channel: what may be in it, and what is questionable there."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, SecretStr, model_validator

from ..config.schema import ChannelConfig, RateLimit
from .budget import UNPRICED, Budget
from .http import WebUrl

E164 = r"^\+[1-9][0-9]{1,14}$"
"""An international number (ITU-T E.164), as Twilio's `To` wants it."""

_SENDER = re.compile(r"\+[1-9][0-9]{1,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
_NORTH_AMERICAN = re.compile(r"\+1[2-9][0-9]{2}[2-9][0-9]{6}")


def _is_number(value: str) -> str:
    if re.fullmatch(E164, value) is None:
        raise ValueError("expected a number in international form, such as +819012345678, in quotes")
    return value


def _is_sender(value: str) -> str:
    if value and _SENDER.fullmatch(value) is None:
        raise ValueError("expected a number such as +15005550006, a short code or a sender name")
    return value


def _is_account(value: SecretStr) -> SecretStr:
    if re.fullmatch("[A-Za-z0-9]{1,64}", value.get_secret_value()) is None:
        raise ValueError("expected an account SID: AC and 32 letters and digits")
    return value


def _is_callback(value: str) -> str:
    parts = urlsplit(value)
    if "_" in (parts.hostname or ""):
        raise ValueError("Twilio calls no host with an underscore in its name")
    if parts.query or parts.fragment or "?" in value or "#" in value:
        raise ValueError(
            "expected an address without ? and #, such as https://knell.example.com/ingest/twilio"
        )
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Number = Annotated[str, AfterValidator(_is_number), Field(json_schema_extra={"pattern": E164})]
Numbers = Annotated[
    list[Number], Field(min_length=1), BeforeValidator(_listed, json_schema_input_type=Number | list[Number])
]


class SmsConfig(ChannelConfig):
    """The section of an SMS channel (specification, "SMSChannel")."""

    provider: Literal["twilio"] = Field(default="twilio", description="whose service it is")
    account_sid: Annotated[SecretStr, AfterValidator(_is_account)] = Field(description="AC...")
    auth_token: SecretStr = Field(min_length=1, description="the account's token")
    from_number: Annotated[str, AfterValidator(_is_sender)] = Field(
        default="", description="+ and the number, a short code, or a sender name"
    )
    messaging_service_sid: str = Field(
        default="", pattern=r"^(MG[0-9A-Za-z]{1,62})?$", description="a messaging service instead of a number"
    )
    to_numbers: Numbers = Field(description="receivers: + and the number, in quotes")
    api_base_url: WebUrl = Field(default="https://api.twilio.com", description="root of Twilio's API")
    validity_period_seconds: int = Field(
        default=14_400, ge=1, le=36_000, description="age at which Twilio drops what it could not send"
    )
    max_segments: int = Field(
        default=3, ge=1, le=10, description="segments a text is cut to; each is charged (10 stay below 1,600)"
    )
    budget: Budget | None = Field(default=None, description="what it may cost; absent: money is not counted")
    status_callback_url: Annotated[WebUrl, AfterValidator(_is_callback)] | None = Field(
        default=None,
        description="public address of /ingest/twilio here, where Twilio reports what became of messages",
    )
    opted_in: dict[Number, AwareDatetime] = Field(
        default={},
        description="numbers whose owners agreed again after a STOP, and when; older opt-outs end with it",
    )
    concurrency: int = Field(default=4, ge=1, le=100, description="most messages on the wire at once")
    rate_limit: RateLimit | None = Field(
        default=RateLimit(max_requests=1),
        description="1/s: what a long code of the US sends (Twilio error page 21611)",
    )

    @model_validator(mode="after")
    def _has_a_sender(self) -> Self:
        if not (self.from_number or self.messaging_service_sid):
            raise ValueError("set from_number or messaging_service_sid")
        return self

    @property
    def money(self) -> Budget:
        """What it may cost, also where the section does not say."""
        return self.budget or UNPRICED

    @property
    def currency(self) -> str:
        """The currency of its costs; empty when they are not counted."""
        return self.money.currency


def questionable(config: SmsConfig) -> list[str]:
    """Return what is wrong with a section beyond its schema, in plain words."""
    return [*_numbers(config), *_money(config)]


def _numbers(config: SmsConfig) -> list[str]:
    """Return numbers that cannot exist although they have the form of one."""
    return [
        f"{number} is not a valid North American number: +1 and ten digits"
        for number in (config.from_number, *config.to_numbers)
        if number.startswith("+1") and _NORTH_AMERICAN.fullmatch(number) is None
    ]


def _money(config: SmsConfig) -> list[str]:
    """Return where the budget stops what it should only bound, or counts with another country's price."""
    if (budget := config.budget) is None:
        return []
    found: list[str] = []
    dearest = config.max_segments * len(config.to_numbers) * budget.price_per_segment
    if (limit := budget.limit(critical=False)) is not None and dearest > limit:
        found.append(
            f"budget.per_day: one message of {config.max_segments} segments to {len(config.to_numbers)} "
            f"numbers costs {dearest:g} {budget.currency}; a day has {limit:g} for events not critical"
        )
    if "price_per_segment" not in budget.model_fields_set:
        abroad = [number for number in config.to_numbers if not number.startswith("+1")]
        if abroad or budget.currency != "USD":
            found.append(
                f"budget.price_per_segment: {budget.price_per_segment:g} USD is the price to US numbers; set "
                f"that to {abroad[0] if abroad else 'yours'}, see https://www.twilio.com/sms/pricing"
            )
    return found
