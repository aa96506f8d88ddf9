"""What a model of a section looks like from outside: its keys, and the models below them."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

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
    found: list[Any] = [model]
    for step in path:
        found = [inner for annotation in found for inner in _inside(annotation, step)]
    return next((each for annotation in found for each in _models(annotation)), None)


def is_secret(model: type[BaseModel], path: Loc) -> bool:
    """Whether a path leads to a field that holds a credential."""
    above = model_at(model, path[:-1])
    field = keys(above).get(str(path[-1])) if above is not None and path else None
    if field is None:
        return bool(path) and is_secret(model, path[:-1])
    return _mentions_secret(field.annotation)


def _inside(annotation: Any, step: str | int) -> Iterator[Any]:
    """Return what may stand at one step below what an annotation describes."""
    for alternative in _alternatives(annotation):
        arguments = get_args(alternative)
        if isinstance(alternative, type) and issubclass(alternative, BaseModel):
            field = keys(alternative).get(str(step))
            if field is not None:
                yield field.annotation
        elif arguments:
            # The values of a mapping, or the items of a list.
            yield arguments[-1] if get_origin(alternative) is dict else arguments[0]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    for alternative in _alternatives(annotation):
        if isinstance(alternative, type) and issubclass(alternative, BaseModel):
            yield alternative


def _alternatives(annotation: Any) -> Iterator[Any]:
    """Return the members of a union, or the one annotation itself, without what `Annotated` adds."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _alternatives(arguments[0])
    elif origin in {Union, UnionType}:
        for member in arguments:
            yield from _alternatives(member)
    else:
        yield annotation


def _mentions_secret(annotation: Any) -> bool:
    if isinstance(annotation, type):
        return issubclass(annotation, (SecretStr, SecretBytes, Secret))
    return any(_mentions_secret(inner) for inner in get_args(annotation))
