"""Templates: events in, messages out, in English and Japanese."""

from .engine import TemplateEngine

__all__ = ["TemplateEngine"]
