"""The kinds of values there are in a configuration, each with its check in words for people."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from knell.filters import EVERYTHING, FIELDS, Filter, parse

EVENT_TYPE = r"^(\*|[A-Za-z0-9][A-Za-z0-9_.:\-]{0,99})$"
"""An event type, of knell or of anybody, or the star for all of them."""

Locale = Literal["en", "ja"]


def true_or_false(value: object) -> object:
    """Take true and false only: `yes`, `on` and 1 are no switch."""
    if isinstance(value, bool) or (isinstance(value, str) and value.lower() in {"true", "false"}):
        return value
    raise ValueError("expected true or false")


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _filters(value: object) -> Filter:
    if value is None:
        return EVERYTHING
    return value if isinstance(value, Filter) else parse(value)


def _event_type(value: str) -> str:
    if value != "*" and "*" in value:
        raise ValueError("'*' alone stands for every event type; for a part of them use filters with 'glob'")
    if re.fullmatch(EVENT_TYPE, value) is None:
        raise ValueError("expected an event type, such as job_failed, or '*'")
    return value


def _network(value: object) -> object:
    try:
        return ip_network(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("expected a network, such as 10.0.0.0/8 or fd00::/8") from None


def host_and_port(value: str) -> str:
    """Check an address to listen on."""
    found = _ADDRESS.fullmatch(value)
    if found is None or int(found[1]) > _LAST_PORT:
        raise ValueError("expected host:port, such as 127.0.0.1:8321 or [::1]:8321")
    return value


def event_field(value: str) -> str:
    """Check the name of something in an event."""
    if value in FIELDS or (value.startswith("metadata.") and all(value.split("."))):
        return value
    raise ValueError(f"expected one of {', '.join(FIELDS)}, or metadata.<key>")


def store_url(value: str) -> str:
    """Check where events are to live."""
    if not value.startswith(("sqlite://", "postgresql://")):
        raise ValueError("expected sqlite:///path/to/file.db or postgresql://user@host/database")
    return value


_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+):([0-9]{1,5})")
_LAST_PORT = 65535

Flag = Annotated[bool, BeforeValidator(true_or_false)]
Seconds = Annotated[float, Field(ge=0, le=366 * 86400)]
Names = Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])]
EventTypeName = Annotated[str, AfterValidator(_event_type), WithJsonSchema({"$comment": "event_type"})]
EventTypes = Annotated[
    list[EventTypeName],
    BeforeValidator(_listed, json_schema_input_type=EventTypeName | list[EventTypeName]),
]
FilterExpression = Annotated[Filter, PlainValidator(_filters), WithJsonSchema({"$comment": "filter"})]
"""Read once, here; in the file a mapping or a list (`knell.filters`)."""
Network = Annotated[
    IPv4Network | IPv6Network, BeforeValidator(_network), WithJsonSchema({"type": "string", "format": "cidr"})
]
