"""The words of the demo, in the languages that messages have."""

from functools import cache
from importlib.resources import files

import yaml

from knell.templates.wording import ENGLISH, Catalog


@cache
def words(lang: str) -> Catalog:
    """Return the demo's own texts in a language; English is written where it is used."""
    if lang == ENGLISH.locale:
        return ENGLISH
    text = files("knell.lab.demo").joinpath(f"{lang}.yaml").read_text(encoding="utf-8")
    return Catalog(lang, yaml.safe_load(text))
