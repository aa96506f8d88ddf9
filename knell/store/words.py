"""SQLite's errors in words that help whoever reads them."""

import sqlite3

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PRIMARY = 0xFF


def in_words(error: sqlite3.Error) -> str:
    """Return what happened, and where to find more about a damaged file."""
    code = getattr(error, "sqlite_errorcode", None)
    damaged = type(error) is sqlite3.DatabaseError if code is None else code & _PRIMARY in _DAMAGE
    return f"{error}; `knell store check` looks at all of it" if damaged else str(error)
