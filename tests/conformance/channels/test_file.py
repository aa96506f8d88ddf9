from typing import Any

from knell.channels.file import FileChannel
from knell.testing import LocalConformance, Stage


class TestFile(LocalConformance):
    """A file of JSON Lines."""

    channel = FileChannel

    def section(self, stage: Stage) -> dict[str, Any]:
        """Write into the check's own folder."""
        return {"path": str(stage.folder / "audit" / "events.jsonl")}
