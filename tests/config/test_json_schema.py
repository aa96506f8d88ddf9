import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from knell.config.json_schema import json_schema
from knell.config.load import Loaded, candidates
from knell.config.schema import ChannelConfig, NotificationConfig
from knell.errors import ConfigError
from knell.events import EventType
from knell.filters import OPERATORS

Examine = Callable[..., Loaded]
Models = dict[str, type[ChannelConfig]]


@pytest.fixture(scope="module")
def valid(models: Models) -> Callable[[str], bool]:
    """Return a function that tells whether an editor would accept a text."""
    checker: Any = Draft202012Validator(json_schema(models))

    def run(text: str) -> bool:
        return bool(checker.is_valid(yaml.safe_load(text)))

    return run


def test_it_is_a_schema_of_the_dialect_it_names(models: Models) -> None:
    """And JSON, for `knell schema` to write."""
    schema = json_schema(models)
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_reference_leads_somewhere(models: Models) -> None:
    """An editor shows nothing at all for a schema with a dangling reference."""
    schema = json_schema(models)

    referenced = set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(schema)))
    assert referenced <= schema["$defs"].keys()


ACCEPTED = [
    "{}",
    "slack: {webhook_url: '${X}', events: [job_failed, nightly_report], filters: [{severity: critical}]}",
    "channels: {ops: {type: slack, webhook_url: x}}",
    "ops: {type: slack, webhook_url: x}",
    "mine: {type: 'package.module:Class', anything: 1}",
    "open: {anything: 1}",
    "notifications: {slack: {webhook_url: x}, locale: ja}",
    "discord: {enabled: false}",
    "slack: {type: discord, webhook_url: x, avatar_url: y}",
    "email: {smtp_server: a, smtp_port: '${PORT:-25}', from: b, to: c, use_tls: '${TLS}'}",
    "console: {retry: {max_retries: 5}, batch: {enabled: true}, rate_limit: {max_requests: 1}}",
    "console: {retry_config: {max_retries: 5}, events: '*', fallback: slack, locale: '${L}'}",
    "rate_limits: {slack: {max_requests: 1}}",
    "event_routing: [{name: a, channels: [b], event_types: job_failed, priority: 5, stop: true}]",
    "global_filters: {any: [{severity: {gte: error}}, {not: {metadata.a: [1, 2]}}, [{title: {glob: 'x*'}}]]}",
    "global_filters: [{source: {in: [a, b]}}, {title: {exists: true}}, {event_type: [job_failed, mine]}]",
    "supervision: {strategy: one_for_all, children: {slack: {mailbox: 5, backoff: {max_seconds: 5}}}}",
    "security: {require_tls: false, allowed_networks: [10.0.0.0/8]}",
]

REFUSED = [
    "slak: {webhook_url: x}",
    "evnt_routing: []",
    "slack: {webhook_url: x, chanel: y}",
    "slack: {webhook_url: x, name: y}",
    "discord: {}",
    "channels: {ops: {webhook_url: x}}",
    "channels: {ops: {type: slak}}",
    "channels: {'a b': {type: console}}",
    "notifications: {}\nlocale: ja",
    "console: {concurrency: 0}",
    "console: {concurrency: many}",
    "console: {enabled: 5}",
    "console: {events: [a b]}",
    "console: {retry: {max_retrys: 5}}",
    "locale: jp",
    "event_routing: [{name: a}]",
    "event_routing: [{name: a, channels: b, filters: [{severty: x}]}]",
    "global_filters: {severity: hihg}",
    "global_filters: {title: {eqq: 1}}",
    "global_filters: {title: {in: a}}",
    "global_filters: {any: []}",
    "global_filters: {metadata: x}",
    "supervision: {strategy: none}",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_it_accepts_what_is_right(valid: Callable[[str], bool], text: str) -> None:
    """A false mark in an editor teaches people to ignore marks."""
    assert valid(text)


@pytest.mark.parametrize("text", REFUSED)
def test_it_marks_what_is_wrong(valid: Callable[[str], bool], examined: Examine, text: str) -> None:
    """Everything it marks the loader refuses too."""
    assert not valid(text)
    with pytest.raises(ConfigError):
        examined(text)


def test_it_accepts_the_packaged_default(valid: Callable[[str], bool]) -> None:
    """The file people start from must show no mark."""
    assert valid(candidates()[0].read_text(encoding="utf-8"))


def test_the_keys_of_every_channel_type_are_described(models: Models) -> None:
    """Hovering over a key of all channels explains it."""
    schema = json_schema(models)
    slack = schema["$defs"]["type:slack"]["properties"]
    assert {"webhook_url", "icon_emoji", "events", "retry_config", "retry", "fallback"} <= slack.keys()
    assert "name" not in slack
    common = [key for key in ChannelConfig.model_fields if key != "name"]
    assert all(slack[key].get("description") for key in common)


def test_every_key_of_the_schema_has_a_description() -> None:
    """The sections that are not channels too; the reference page is made of them."""

    def bare(model: type[BaseModel]) -> list[str]:
        return [
            f"{model.__name__}.{name}" for name, field in model.model_fields.items() if not field.description
        ]

    sections: set[type[BaseModel]] = {NotificationConfig, ChannelConfig}
    for model in tuple(sections):
        for field in model.model_fields.values():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                sections.add(field.annotation)
    assert [key for model in sections for key in bare(model)] == []


def test_event_types_and_operators_are_offered(models: Models) -> None:
    """The editor's list is the product's list."""
    definitions = json_schema(models)["$defs"]
    assert definitions["event_type"]["anyOf"][0]["enum"] == ["*", *map(str, EventType)]
    assert set(definitions["condition"]["anyOf"][2]["properties"]) == set(OPERATORS)


class _Odd(ChannelConfig):
    """A third party's model with a field JSON cannot describe."""

    size: int = 5
    check: Callable[[], bool] | None = None


def test_a_model_json_cannot_describe_does_not_spoil_the_rest() -> None:
    """Its other keys are still completed."""
    schema = json_schema({"odd": _Odd})
    Draft202012Validator.check_schema(schema)
    assert "size" in schema["$defs"]["type:odd"]["properties"]
