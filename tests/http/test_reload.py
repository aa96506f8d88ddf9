from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GOOD = "channels: {{{names}}}\nstore: {{url: 'sqlite:///{store}'}}\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration file; the working directory has no other."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "knell.yaml"
    file.write_text(GOOD.format(names="console: {}", store=tmp_path / "knell.db"))
    return file


def test_a_reload_takes_over_what_the_file_says_now(make: Callable[..., Any], file: Path) -> None:
    """A channel that is new in it serves when the answer comes."""
    served = make(source=file)
    names = "console: {}, second: {type: console}"
    file.write_text(GOOD.format(names=names, store=file.parent / "knell.db"))
    reply = served.ask("POST", "/-/reload")
    assert (reply.status, reply.json) == (200, {"reloaded": True})
    assert "[+]channels/second ok" in served.ask("GET", "/readyz?verbose").body.decode()


def test_a_wrong_file_leaves_the_old_one_in_force(
    make: Callable[..., Any], file: Path, event: dict[str, Any]
) -> None:
    """Every mistake is told with its place, and nothing has changed."""
    served = make(source=file)
    file.write_text("chanels: {}\nretry_policy: {max_retries: many}\n")
    reply = served.ask("POST", "/-/reload")
    assert (reply.status, reply.headers["Content-Type"]) == (422, "application/problem+json")
    assert reply.json["detail"] == "the configuration is wrong; the old one stays in force"
    assert reply.json["errors"] == [
        {"field": f"{file}:1:1", "message": "unknown key 'chanels'", "hint": "did you mean 'channels'?"},
        {"field": f"{file}:2:29", "message": "expected a whole number, got text"},
    ]
    metrics = served.ask("GET", "/metrics").body.decode()
    assert "knell_config_last_reload_successful 0.0" in metrics
    assert served.post(event).status == 202


def test_a_reload_is_asked_for_by_post_only(served: Any) -> None:
    """No link and no image of a web page reloads anything."""
    assert served.ask("GET", "/-/reload").status == 405
