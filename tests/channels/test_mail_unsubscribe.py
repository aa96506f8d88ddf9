"""How receivers leave: RFC 2369 for everybody, one click (RFC 8058) over https alone."""

from typing import Any

import pytest

from knell.channels.mail_unsubscribe import Unsubscribe

ONE_CLICK = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
LONG = "https://example.com/" + "x" * 880


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"url": "https://x.y/?a=b&c=d"}, f"List-Unsubscribe: <https://x.y/?a=b&c=d>\r\n{ONE_CLICK}"),
        ({"url": "http://x.y/"}, "List-Unsubscribe: <http://x.y/>\r\n"),
        ({"mailto": "leave@x.y"}, "List-Unsubscribe: <mailto:leave@x.y>\r\n"),
        (
            {"mailto": "mailto:leave@x.y?subject=a%20b"},
            "List-Unsubscribe: <mailto:leave@x.y?subject=a%20b>\r\n",
        ),
        (
            {"url": LONG, "mailto": "leave@x.y"},
            f"List-Unsubscribe: <mailto:leave@x.y>,\r\n <{LONG}>\r\n{ONE_CLICK}",
        ),
    ],
)
def test_the_header_fields(given: dict[str, str], fields: str) -> None:
    """Mail first, then the web; the one click is promised only where nobody can listen or answer instead."""
    assert Unsubscribe.model_validate(given).fields == fields


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"url": ""},
        {"url": "ftp://x.y/"},
        {"url": "https://x.y/ z"},
        {"url": "https://x.y/\r\nBcc: a@b.c"},
        {"url": "https://x.y/>,<https://evil"},
        {"url": "https://x.y/é"},
        {"url": "https://x.y/" + "x" * 900},
        {"mailto": "nobody"},
        {"mailto": "a@b.c>, <mailto:d@e.f"},
        {"mailto": "Name <a@b.c>"},
        {"mailto": "a@b.c?subject=a b"},
        {"mailto": "a@b.c?subject=a\r\nBcc: d@e.f"},
        {"post": True, "url": "https://x.y"},
    ],
)
def test_what_is_no_way_out(given: dict[str, Any]) -> None:
    """Nothing at all, and whatever could end the field, is refused when the configuration is read."""
    with pytest.raises(ValueError, match="Unsubscribe"):
        Unsubscribe.model_validate(given)
