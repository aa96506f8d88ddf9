"""The examples run, and say what their readers are promised."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

EXPECTED = {
    "notification_basic_usage.py": ["accepted: True", "AssertionError: 3 != 4", "console: delivered"],
    "notification_multi_channel.py": [
        "sms      delivered",
        "email    not sent: not_routed",
        "2 Slack messages, 1 SMS",
    ],
    "notification_custom_template.py": ['the "nightly" build <failed>', "exit code 137"],
}


def test_every_example_is_listed() -> None:
    """A new example is run by this test, too."""
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_example_runs(name: str, tmp_path: Path) -> None:
    """An example ends well in any folder, prints what it shows, and leaves nothing behind."""
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(EXAMPLES / name)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for text in EXPECTED[name]:
        assert text in done.stdout
    assert list(tmp_path.iterdir()) == []
