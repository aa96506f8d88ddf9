"""The JSON Schema of the configuration file: what an editor completes, explains and marks while typing.

It says what the loader says as far as a schema can. Names that must exist elsewhere in the file, and what
channels check beyond their fields, are for `knell check`.
"""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from knell.events import EventType, Severity
from knell.filters import FIELDS, OPERATORS

from .fields import names
from .schema import CHANNEL_NAME, ChannelConfig, NotificationConfig
from .values import EVENT_TYPE

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(models: Mapping[str, type[ChannelConfig]]) -> Schema:
    """Return the schema of a configuration file.

    Args:
        models: every channel type with the model of its section.
    """
    every: list[type[BaseModel]] = [NotificationConfig, *models.values()]
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in every]
    found, shared = models_json_schema(wanted, schema_generator=_Generator, ref_template="#/$defs/{model}")
    definitions: Schema = _tidy(shared["$defs"])
    own = {model: definitions[ref["$ref"].rpartition("/")[2]] for (model, _), ref in found.items()}
    sections = {f"type:{name}": _section(own[model], model) for name, model in models.items()}
    settings = _settings(own[NotificationConfig], tuple(models))
    return {
        "$schema": DIALECT,
        "title": "knell",
        "description": "Who is told what, and how.",
        "if": {"type": "object", "required": ["notifications"]},
        "then": {"properties": {"notifications": _ref("settings")}, "additionalProperties": False},
        "else": _ref("settings"),
        "$defs": definitions | sections | _any_section(tuple(models)) | _WORDS | {"settings": settings},
    }


class _Generator(GenerateJsonSchema):
    """Leaves out what JSON cannot say, instead of warning or giving up over a third party's model."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as the base has it

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Schema:  # noqa: ARG002
        """Let anything stand where the model's own check has no counterpart."""
        return {}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _tidy(schema: object) -> Any:
    """Drop generated titles, put in our own definitions, and let `${...}` stand for what is no plain text."""
    if isinstance(schema, list):
        return [_tidy(item) for item in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in cast("Schema", schema).items() if key != "title"}
    if "$comment" in kept:
        return _ref(kept.pop("$comment")) | kept
    tidied = {key: value if key in _VERBATIM else _tidy(value) for key, value in kept.items()}
    if "properties" in kept:
        tidied["properties"] = {key: _tidy(value) for key, value in kept["properties"].items()}
    checks = tidied.keys() - _ANNOTATIONS
    if tidied.get("type") in _SCALARS or (tidied.get("type") == "string" and checks - {"type", "format"}):
        checked = {key: tidied.pop(key) for key in sorted(checks)}
        tidied["anyOf"] = [checked, _ref("reference")]
    return tidied


_ANNOTATIONS = {"description", "default", "examples", "deprecated", "writeOnly"}
_VERBATIM = {"default", "examples", "enum", "const", "required", "properties"}
_SCALARS = {"integer", "number", "boolean"}


def _section(own: Schema, model: type[BaseModel]) -> Schema:
    """Return the schema of a channel's section; one that is disabled may be incomplete."""
    properties = dict(own["properties"])
    for name, field in model.model_fields.items():
        first, *others = names(name, field)
        properties |= dict.fromkeys(others, properties[first])
    del properties["name"]
    return {
        "type": "object",
        "description": own.get("description", ""),
        "properties": properties,
        "additionalProperties": own.get("additionalProperties", False),
        "if": {"properties": {"enabled": {"const": False}}, "required": ["enabled"]},
        "else": {"required": own.get("required", [])},
    }


def _any_section(types: tuple[str, ...]) -> Schema:
    """Return the schemas of sections: those named after a type, and those that name theirs."""
    by_type = [
        {"if": {"properties": {"type": {"const": name}}}, "then": _ref(f"type:{name}")} for name in types
    ]
    chosen = {"anyOf": [{"enum": list(types)}, {"type": "string", "pattern": r":|\$\{"}]}
    typed = {"type": "object", "properties": {"type": chosen}, "required": ["type"], "allOf": by_type}
    named = {
        f"section:{name}": {
            "if": {"required": ["type"]},
            "then": _ref("section"),
            "else": _ref(f"type:{name}"),
        }
        for name in types
    }
    return {"section": typed, **named}


def _settings(own: Schema, types: tuple[str, ...]) -> Schema:
    """Return the schema of all settings; channel sections may stand at top level too."""
    sections = {name: _ref(f"section:{name}") for name in types}
    channels = {
        "type": "object",
        "description": own["properties"]["channels"]["description"],
        "propertyNames": {"pattern": CHANNEL_NAME},
        "properties": sections,
        "additionalProperties": _ref("section"),
    }
    properties = {**own["properties"], "channels": channels, **sections}
    return {"type": "object", "properties": properties, "additionalProperties": _ref("section")}


def _condition(value: Schema) -> Schema:
    """Return the schema of what a field of an event is compared with."""
    several = {"type": "array", "items": value}
    operators: Schema = dict.fromkeys(OPERATORS, value)
    operators |= {"in": several, "not_in": several, "exists": {"type": "boolean"}}
    operators |= {
        operator: {"type": "string"} for operator in ("starts_with", "ends_with", "glob", "matches")
    }
    compared = {"type": "object", "properties": operators, "additionalProperties": False}
    return {"anyOf": [value, several, compared]}


_SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
_LIST_OF_FILTERS: Schema = {"type": "array", "items": _ref("filter"), "minItems": 1}

_WORDS: Schema = {
    "reference": {
        "description": "${NAME}, ${NAME:-default} or ${file:/path}",
        "type": "string",
        "pattern": r"\$\{.+\}",
    },
    "event_type": {
        "description": "an event type, '*' for all",
        "anyOf": [
            {"enum": ["*", *map(str, EventType)]},
            {"type": "string", "pattern": EVENT_TYPE},
            _ref("reference"),
        ],
    },
    "condition": _condition(_SCALAR),
    "filter": {
        "description": "a list means AND, a mapping means AND of its keys, a list as a value means 'one of'",
        "anyOf": [
            {"type": "array", "items": _ref("filter")},
            {
                "type": "object",
                "properties": {
                    **dict.fromkeys(FIELDS, _ref("condition")),
                    "severity": _condition(
                        {"anyOf": [{"enum": list(map(str, Severity))}, _ref("reference")]}
                    ),
                    "event_type": _condition({"anyOf": [_ref("event_type"), {"type": "null"}]}),
                    "all": _LIST_OF_FILTERS,
                    "any": _LIST_OF_FILTERS,
                    "not": _ref("filter"),
                },
                "patternProperties": {r"^metadata(\.[^.]+)+$": _ref("condition")},
                "additionalProperties": False,
            },
        ],
    },
}
"""Definitions of our own, which the models name by `$comment` (`knell.config.values`)."""
