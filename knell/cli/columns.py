"""Rows of text in columns."""

from collections.abc import Collection, Iterator, Sequence

Row = tuple[str, ...]


def aligned(head: Row, rows: Sequence[Row], numbers: Collection[str]) -> Iterator[str]:
    """Return a line for each row, below its head; the columns that `numbers` names are set to the right."""
    columns = widths([head, *rows])
    for row in (head, *rows):
        cells = [
            f"{text:>{width}}" if name in numbers else f"{text:<{width}}"
            for name, text, width in zip(head, row, columns, strict=True)
        ]
        yield "  ".join(cells).rstrip()


def widths(rows: Sequence[Row]) -> list[int]:
    """Return how wide each column has to be."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]
