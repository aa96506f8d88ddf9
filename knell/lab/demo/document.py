"""The page's document: markup, style and scripts in one, with nothing to fetch from anywhere."""

import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib.resources import files

from knell.templates.wording import Catalog

SCRIPTS = ("dom", "slack", "discord", "receivers", "live")
"""The scripts, in the order in which they need each other."""

_WORD = re.compile(r"\[\[(.+?)\]\]")
_PIECE = re.compile(r"<!-- (style|script) -->")


def document(words: Catalog) -> tuple[str, str]:
    """Return the document and its Content-Security-Policy, which lets nothing but its own script run."""
    style = f"<style>\n{_read('page.css')}</style>"
    code = "\n" + "".join(_read(f"{name}.js") for name in SCRIPTS)
    pieces = {"style": style, "script": f"<script>{code}</script>"}
    markup = _WORD.sub(lambda word: escape(words(word[1])), _read("page.html"))
    text = _PIECE.sub(lambda piece: pieces[piece[1]], markup.replace("[lang]", words.locale))
    digest = b64encode(sha256(code.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; connect-src 'self'; img-src data:; "
        # A mail is styled inline, and a frame of `srcdoc` is under the policy of its page.
        "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, policy


def _read(name: str) -> str:
    return files("knell.lab.demo").joinpath("assets", name).read_text(encoding="utf-8")
