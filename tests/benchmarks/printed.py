"""Reading what a benchmark printed."""


def block(printed: str, label: str) -> list[str]:
    """Return the lines of one row: what each subject took."""
    lines = printed.splitlines()
    begin = next(at for at, line in enumerate(lines) if line.split("  [")[0] == label)
    rest = lines[begin + 1 :]
    return rest[: next((at for at, line in enumerate(rest) if not line.startswith("  ")), len(rest))]
