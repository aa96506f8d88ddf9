"""The tables of the SQLite store, and how a file of an older version is brought up to date."""

import sqlite3

from knell.errors import StoreError

VERSION = 1
"""`PRAGMA user_version` of a file this code writes."""

_V1 = """
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    severity TEXT NOT NULL,
    accepted REAL NOT NULL,
    body BLOB NOT NULL,
    suppressed BLOB NOT NULL
);
CREATE TABLE key (
    key TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    sha BLOB NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    channel TEXT NOT NULL,
    order_key TEXT,
    state INTEGER NOT NULL,
    due REAL NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    rule TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    progress BLOB,
    receipt BLOB,
    finished REAL
);
CREATE UNIQUE INDEX delivery_event ON delivery (seq, channel);
CREATE INDEX delivery_ready ON delivery (channel, id) WHERE state = 2;
CREATE INDEX delivery_deferred ON delivery (channel, due) WHERE state = 1;
CREATE INDEX delivery_sending ON delivery (channel) WHERE state = 3;
CREATE INDEX delivery_order ON delivery (channel, order_key, id) WHERE state < 4 AND order_key IS NOT NULL;
CREATE INDEX delivery_dead ON delivery (channel, id) WHERE state = 5;
CREATE TABLE attempt (
    delivery INTEGER NOT NULL,
    n INTEGER NOT NULL,
    at REAL NOT NULL,
    ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    PRIMARY KEY (delivery, n, at)
) WITHOUT ROWID;
"""

_STEPS = {0: _V1}


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file up to this version, in one transaction.

    Raises:
        StoreError: the file was written by a newer version.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise StoreError(f"store: the file has version {version}, this knell knows {VERSION}: upgrade knell")
    if version == VERSION:
        return
    script = "".join(_STEPS[step] for step in range(version, VERSION))
    connection.executescript(f"BEGIN IMMEDIATE;{script}PRAGMA user_version = {VERSION};COMMIT;")
