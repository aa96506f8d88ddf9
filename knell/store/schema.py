"""The tables of the SQLite store, and how a file of an older version is brought up to date.

What an index is for stands beside it. Partial indexes keep every hot statement independent of how much is
stored; those `WHERE finished IS NULL` are not touched when an unfinished delivery changes its state.
"""

import sqlite3

from knell.errors import StoreError

VERSION = 3
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

_V2 = """
-- what makes an event mean the same as another one
ALTER TABLE event ADD COLUMN similar TEXT NOT NULL DEFAULT '';
CREATE INDEX event_similar ON event (similar, seq) WHERE similar <> '';
-- bare: no delivery is left, so that it may go when nobody needs its keys any more
ALTER TABLE event ADD COLUMN bare INTEGER NOT NULL DEFAULT 0;
UPDATE event SET bare = 1 WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.seq = event.seq);
CREATE INDEX event_bare ON event (accepted) WHERE bare = 1;
-- keys go with their event
CREATE INDEX key_seq ON key (seq);

-- backlog: counts, walking, expiry; with `finished`, so that counting needs no table
CREATE INDEX delivery_open ON delivery (channel, seq, finished) WHERE finished IS NULL;
-- the oldest of an order key
DROP INDEX delivery_order;
CREATE INDEX delivery_order ON delivery (channel, order_key, id)
    WHERE finished IS NULL AND order_key IS NOT NULL;
-- recovery, and whether anything of an order key is under way
DROP INDEX delivery_sending;
CREATE INDEX delivery_sending ON delivery (channel, order_key) WHERE state = 3;
-- waiting ones that must not go at once when their turn comes
CREATE INDEX delivery_late ON delivery (due) WHERE state = 0 AND due > 0;
-- dead letters, youngest first; retention
DROP INDEX delivery_dead;
CREATE INDEX delivery_dead ON delivery (id, channel, state) WHERE state = 5;
CREATE INDEX delivery_dead_since ON delivery (finished) WHERE state = 5;
CREATE INDEX delivery_ended ON delivery (finished) WHERE finished IS NOT NULL AND state <> 5;

-- an older version knew only what its reason tells
ALTER TABLE attempt ADD COLUMN outcome TEXT NOT NULL DEFAULT '';
UPDATE attempt SET outcome = reason WHERE reason IN ('delivered', 'crashed');

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    by TEXT NOT NULL,
    action TEXT NOT NULL,
    detail TEXT NOT NULL,
    deliveries INTEGER NOT NULL
);
-- the highest numbers that were ever given: none is given twice, whatever has been pruned
CREATE TABLE mark (seq INTEGER NOT NULL, row INTEGER NOT NULL);
INSERT INTO mark VALUES (0, 0);
"""

_V3 = """
-- what channels remember; `until`: Unix seconds, infinity for good
CREATE TABLE note (
    channel TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (channel, key)
) WITHOUT ROWID;
CREATE INDEX note_until ON note (until);
"""

_STEPS = {0: _V1, 1: _V2, 2: _V3}


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
