"""Styles where every mail program reads them: in the elements, not in the head."""

import re

import css_inline

_STYLE = re.compile(r"""<style(?![^>]*\bdata-css-inline\s*=\s*["']?ignore)[\s>]""", re.IGNORECASE)

# Nothing is ever fetched: what a template links to stays a link.
_INLINER = css_inline.CSSInliner(
    keep_style_tags=True, remove_inlined_selectors=True, keep_link_tags=True, load_remote_stylesheets=False
)


def inlined(html: str) -> str:
    """Return HTML with the rules of its `<style>` written into the elements they are about.

    What elements cannot hold stays in `<style>`: `@media`, `:hover`. A `<style data-css-inline="ignore">` is
    left alone, and a mail that has no other costs nothing; the rest some 200 us (css-inline is Rust).
    """
    if _STYLE.search(html) is None:
        return html
    try:
        return _INLINER.inline(html)
    except css_inline.InlineError:
        return html  # the rules as they are: a mail with its looks in the head beats none
