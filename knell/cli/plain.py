"""Text from outside on a terminal: shown, never obeyed, and never a reason to fail."""


def plain(text: str) -> str:
    """Return what a terminal shows and does not obey; the text is whatever somebody else says."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def brief(error: str) -> str:
    """Return what an error says in a line: of a traceback the last one, which names the exception."""
    lines = error.strip().splitlines()
    return plain(lines[-1]) if lines else ""


def writable(text: str, encoding: str) -> str:
    """Return a text with what an encoding cannot say written otherwise."""
    return text.encode(encoding, "backslashreplace").decode(encoding)
