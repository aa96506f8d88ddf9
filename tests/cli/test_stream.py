import os

import pytest

from knell.cli.stream import lossy


def test_what_is_written_arrives() -> None:
    """As long as somebody reads."""
    read, write = os.pipe()
    with open(write, "w", encoding="utf-8") as end:  # noqa: PTH123 - a pipe
        stream = lossy(end)
        assert stream.write("a line\n") == 7
        stream.flush()
        assert not stream.isatty()
        assert os.read(read, 100) == b"a line\n"
    os.close(read)


def test_a_reader_that_went_away_is_not_missed() -> None:
    """Neither now, nor when the stream is closed at the end of the process."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as end:  # noqa: PTH123
        stream = lossy(end)
        assert stream.write("a line\n") == 7
        stream.flush()
        assert stream.write("x" * 100_000) == 100_000
        stream.flush()
    assert end.closed


def test_a_closed_stream_is_not_missed() -> None:
    """Some daemons close theirs."""
    with open(os.devnull, "w", encoding="utf-8") as end:  # noqa: PTH123
        stream = lossy(end)
    assert stream.write("a line\n") == 7
    stream.flush()
    with pytest.raises(ValueError, match="closed"):
        end.write("x")
