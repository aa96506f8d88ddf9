"""Looking at every row of a store's file, and at every promise about them."""

import sqlite3

from knell.store.schema import VERSION

MOST = 20
"""Findings that are named of one kind."""

# Each query returns what a sentence is wrong about, as text.
_PROMISES = {
    "{} has no event": (
        "SELECT 'delivery ' || id FROM delivery d WHERE NOT EXISTS (SELECT 1 FROM event WHERE seq = d.seq)"
    ),
    "{} leads to no event": (
        "SELECT 'key ' || key FROM key k WHERE NOT EXISTS (SELECT 1 FROM event WHERE seq = k.seq)"
    ),
    "{} has a state that does not fit its end": (
        "SELECT 'delivery ' || id FROM delivery WHERE state NOT BETWEEN 0 AND 7 "
        "OR (finished IS NULL) <> (state < 4)"
    ),
    "{} waits for no one": "SELECT 'delivery ' || id FROM delivery WHERE state = 0 AND order_key IS NULL",
    "{} has one that may go while another is under way": (
        "SELECT DISTINCT channel || ', order key ' || order_key FROM delivery s WHERE state = 3 AND EXISTS "
        "(SELECT 1 FROM delivery o WHERE o.channel = s.channel AND o.order_key = s.order_key "
        "AND o.finished IS NULL AND o.state IN (1, 2))"
    ),
    "{} waits for nothing or is out of order": (
        "SELECT channel || ', order key ' || order_key FROM "
        "(SELECT channel, order_key, min(id) AS oldest, sum(state IN (1, 2)) AS free, "
        "sum(state = 3) AS busy FROM delivery WHERE finished IS NULL AND order_key IS NOT NULL "
        "GROUP BY channel, order_key) "
        "WHERE busy = 0 AND (free <> 1 OR (SELECT state FROM delivery WHERE id = oldest) = 0)"
    ),
}


def examine(connection: sqlite3.Connection) -> list[str]:
    """Return what is wrong: damage, and broken promises of order.

    Raises:
        sqlite3.DatabaseError: it cannot even be read.
    """
    damage = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if damage:
        return damage
    if version != VERSION:
        return [f"the file has version {version}, this knell knows {VERSION}"]
    connection.execute("BEGIN")  # one moment for all questions
    try:
        return [
            sentence.format(what)
            for sentence, query in _PROMISES.items()
            for (what,) in connection.execute(f"{query} LIMIT {MOST}")
        ]
    finally:
        connection.execute("ROLLBACK")
