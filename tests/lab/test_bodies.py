"""Reading bodies: what is no object, and forms byte for byte."""

import asyncio

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.lab import bodies


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000])
def test_what_is_no_json_object(body: bytes) -> None:
    """Anything but an object is a ValueError, however deep."""
    with pytest.raises(ValueError, match=r"."):
        bodies.json_object(body)


@pytest.mark.parametrize(
    ("kind", "body"),
    [("multipart/form-data", b""), ("multipart/form-data; boundary=b", b"--b\r\nno head--b--")],
)
def test_forms_that_cannot_be_read(kind: str, body: bytes) -> None:
    """Without a boundary, or with a part without a head, it is a ValueError."""
    with pytest.raises(ValueError, match="multipart"):
        bodies.multipart(kind, body)


def test_an_encoded_form() -> None:
    """Escapes are undone, empty fields are kept, and of a repeated one the last counts."""
    assert bodies.form(b"a=1%262&b=&a=%E3%81%82+x") == {"a": "あ x", "b": ""}


@given(
    st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.text("ab.-_é あ", min_size=1, max_size=20)
)
def test_any_bytes_survive_a_multipart_form(contents: list[bytes], filename: str) -> None:
    """What aiohttp packs comes out as it went in."""

    async def packed() -> tuple[str, bytes]:
        with aiohttp.MultipartWriter("form-data") as writer:
            for number, content in enumerate(contents):
                part = writer.append(content)
                part.set_content_disposition(
                    "form-data", quote_fields=False, name=f"files[{number}]", filename=filename
                )
        return writer.content_type, await writer.as_bytes()

    kind, body = asyncio.run(packed())
    parts = bodies.multipart(kind, body)
    assert [part.content for part in parts] == contents
    assert [part.name for part in parts] == [f"files[{number}]" for number in range(len(contents))]
    assert all(part.filename is not None for part in parts)
