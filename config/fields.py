"""What a model of a section looks like from outside: its keys, and the models below them."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import AliasChoices, BaseModel, Secret, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from .tree import Loc


def keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return every key a section may hold, other names of the same field included."""
    return {key: field for name, field in model.model_fields.items() for key in names(name, field)}


def names(name: str, field: FieldInfo) -> tuple[str, ...]:
    """Return what the key of a field is called in the file, the preferred name first."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(choice for choice in alias.choices if isinstance(choice, str))
    return (alias if isinstance(alias, str) else name,)


def model_at(model: type[BaseModel], path: Loc) -> type[BaseModel] | None:
    """Return the model that checks what stands at a path below a section."""
    annotation: Any = model
    for step in path:
        inner = next(_models(annotation), None)
        field = keys(inner).get(step) if inner is not None and isinstance(step, str) else None
        if field is not None:
            annotation = field.annotation
    return next(_models(annotation), None)


def is_secret(model: type[BaseModel], path: Loc) -> bool:
    """Whether a path leads to a field that holds a credential."""
    above = model_at(model, path[:-1])
    field = keys(above).get(str(path[-1])) if above is not None and path else None
    if field is None:
        return bool(path) and is_secret(model, path[:-1])
    return _mentions_secret(field.annotation)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _mentions_secret(annotation: Any) -> bool:
    if isinstance(annotation, type):
        return issubclass(annotation, (SecretStr, SecretBytes, Secret))
    return any(_mentions_secret(inner) for inner in get_args(annotation))
