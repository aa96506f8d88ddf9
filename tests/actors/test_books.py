"""Whom the outbox tells after a commit."""

from functools import partial

import pytest

from knell.actors.books import Books


def test_one_who_cannot_be_told_stops_nobody_else() -> None:
    """What is durable is not found again: the others learn of it before the crash."""
    books, told = Books.__new__(Books), list[str]()

    def fail() -> None:
        raise RuntimeError("a receipt with a bug")

    books._after = [partial(told.append, "before"), fail, partial(told.append, "after")]  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(RuntimeError, match="a receipt with a bug"):
        books._tell_all()  # pyright: ignore[reportPrivateUsage]
    assert told == ["before", "after"]
