"""Whatever goes wrong in a template, as one error that says where."""

from collections.abc import Generator
from contextlib import contextmanager

from jinja2 import Template, TemplateNotFound, TemplateSyntaxError

from knell.errors import TemplateError


@contextmanager
def explained(name: str) -> Generator[None]:
    """Turn every error of the code inside into a `TemplateError` that names template, line and cause."""
    try:
        yield
    except TemplateError as error:
        raise TemplateError(f"{name}: {error}") from error
    except TemplateSyntaxError as error:
        raise TemplateError(f"{error.name or name}:{error.lineno}: {error.message}") from error
    except TemplateNotFound as error:
        raise TemplateError(f"{_place(error) or name}: there is no template {error.name!r}") from error
    except RecursionError as error:
        raise TemplateError(f"{name}: nested too deep, or within itself") from error
    except Exception as error:
        cause = str(error) or type(error).__name__
        raise TemplateError(f"{_place(error) or name}: {cause}") from error


def _place(error: BaseException) -> str:
    """Return `template:line` of the innermost template in an error's traceback."""
    place, trace = "", error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template):
            place = f"{template.name}:{template.get_corresponding_lineno(trace.tb_lineno)}"
        trace = trace.tb_next
    return place
