"""What channels remember, in the SQLite store."""

from knell.store.file import SqliteFile, guarded


class Notes(SqliteFile):
    """The part for the memories of channels."""

    @guarded
    def remember(self, channel: str, key: str, value: bytes | None, until: float) -> None:
        """Note something, or forget it."""
        if value is None:
            self.db.execute("DELETE FROM note WHERE channel = ? AND key = ?", (channel, key))
            return
        self.db.execute("INSERT OR REPLACE INTO note VALUES (?, ?, ?, ?)", (channel, key, value, until))

    @guarded
    def recall(self, channel: str, key: str, now: float) -> bytes | None:
        """Return what was noted last."""
        found: bytes | None = self.one(
            "SELECT value FROM note WHERE channel = ? AND key = ? AND until > ?", channel, key, now
        )
        return found

    @guarded
    def forget(self, now: float, limit: int) -> int:
        """Delete notes whose time is over."""
        return self.db.execute(
            "DELETE FROM note WHERE (channel, key) IN "
            "(SELECT channel, key FROM note WHERE until <= ? ORDER BY until LIMIT ?)",
            (now, limit),
        ).rowcount
