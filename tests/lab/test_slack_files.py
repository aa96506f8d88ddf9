"""Slack's upload: three steps, once."""

from collections.abc import Callable
from typing import Any

import pytest

from knell.lab import Answer, Lab

Call = Callable[..., Answer]
Step = Callable[..., dict[str, Any]]
CHANNEL = "C0LAB000001"


@pytest.fixture
def step(lab: Lab, call: Call) -> Step:
    """Call a method of the Web API and return the answer's JSON."""

    def method(name: str, **options: object) -> dict[str, Any]:
        head = {"Authorization": f"Bearer {lab.slack.bot_token}"}
        result: dict[str, Any] = call(
            "POST", f"{lab.slack.api_base_url}/{name}", headers=head, **options
        ).json
        return result

    return method


@pytest.fixture
def begun(step: Step) -> dict[str, Any]:
    """An upload of four bytes that was begun."""
    return step("files.getUploadURLExternal", form={"filename": "log.txt", "length": "4"})


def complete(step: Step, file_id: str, **more: str) -> dict[str, Any]:
    """Complete an upload."""
    files = [{"id": file_id, "title": "The log"}]
    return step("files.completeUploadExternal", json={"files": files, "channel_id": CHANNEL, **more})


def test_the_three_steps(lab: Lab, call: Call, step: Step, begun: dict[str, Any]) -> None:
    """Begun, sent raw, completed: the file stands in its channel and thread."""
    assert call("POST", begun["upload_url"], body=b"\x00\r\n1").status == 200
    assert not lab.slack.files
    parent = step("chat.postMessage", json={"channel": CHANNEL, "text": "x"})["ts"]
    answer = complete(step, begun["file_id"], thread_ts=parent, initial_comment="see")
    assert answer == {"ok": True, "files": [{"id": begun["file_id"], "title": "The log"}]}
    (file,) = lab.slack.files
    assert (file.name, file.title, file.content) == ("log.txt", "The log", b"\x00\r\n1")
    assert (file.channel, file.thread, file.comment) == (CHANNEL, parent, "see")
    assert lab.slack.violations == ()


def test_a_file_in_no_thread(lab: Lab, call: Call, step: Step, begun: dict[str, Any]) -> None:
    """A thread that never began is held against the client."""
    call("POST", begun["upload_url"], body=b"1234")
    assert complete(step, begun["file_id"], thread_ts="1.2")["ok"]
    assert lab.slack.violations == (f"thread_ts 1.2 is no message that began a thread in {CHANNEL}",)


def test_the_rate_of_uploads(step: Step) -> None:
    """A hundred a minute."""
    form = {"filename": "log.txt", "length": "4"}
    answers = [step("files.getUploadURLExternal", form=form) for _ in range(101)]
    assert [answer["ok"] for answer in answers] == [True] * 100 + [False]
    assert answers[-1]["error"] == "ratelimited"


def test_the_bytes_may_come_as_a_form(lab: Lab, call: Call, step: Step, begun: dict[str, Any]) -> None:
    """A multipart form with one file does as well."""
    body = (
        b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nx\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="log.txt"\r\n\r\n1234\r\n--b--\r\n'
    )
    head = {"Content-Type": "multipart/form-data; boundary=b"}
    assert call("POST", begun["upload_url"], body=body, headers=head).status == 200
    complete(step, begun["file_id"])
    assert lab.slack.files[0].content == b"1234"


def test_a_length_that_was_no_promise(lab: Lab, call: Call, begun: dict[str, Any]) -> None:
    """Other bytes than announced are a violation."""
    call("POST", begun["upload_url"], body=b"12345")
    assert lab.slack.violations == ("log.txt: announced 4 bytes, sent 5",)


def test_completing_twice_or_too_early(lab: Lab, call: Call, step: Step, begun: dict[str, Any]) -> None:
    """Only bytes that came can be shared, and only once."""
    assert complete(step, begun["file_id"])["error"] == "file_not_found"
    call("POST", begun["upload_url"], body=b"1234")
    assert complete(step, begun["file_id"])["ok"]
    assert complete(step, begun["file_id"])["error"] == "file_not_found"
    assert len(lab.slack.files) == 1


def test_an_upload_that_is_never_completed_is_absent(lab: Lab, call: Call, begun: dict[str, Any]) -> None:
    """Two steps share nothing."""
    call("POST", begun["upload_url"], body=b"1234")
    assert lab.slack.files == ()


@pytest.mark.parametrize(
    "options",
    [
        {"form": {"filename": "log.txt"}},
        {"form": {"filename": "log.txt", "length": "0"}},
        {"form": {"length": "4"}},
        {"json": {"filename": "log.txt", "length": 4}},
    ],
)
def test_beginning_needs_a_form_with_name_and_length(step: Step, options: dict[str, Any]) -> None:
    """Without name or length, or as JSON, it is invalid_arguments."""
    assert step("files.getUploadURLExternal", **options)["error"] == "invalid_arguments"


def test_completing_needs_files_and_a_channel_id(call: Call, step: Step, begun: dict[str, Any]) -> None:
    """An empty list and a channel's name are refused; without a channel nobody sees it."""
    call("POST", begun["upload_url"], body=b"1234")
    assert step("files.completeUploadExternal", json={"files": []})["error"] == "invalid_arguments"
    named = {"files": [{"id": begun["file_id"]}], "channel_id": "#necrocode"}
    assert step("files.completeUploadExternal", json=named)["error"] == "channel_not_found"
    assert step("files.completeUploadExternal", json={"files": named["files"]})["ok"]


def test_unknown_upload_addresses_and_broken_forms(lab: Lab, call: Call, begun: dict[str, Any]) -> None:
    """An address nobody handed out is a 404; a form without boundary a 400."""
    assert call("POST", f"{lab.slack.base_url}/upload/v1/none", body=b"1").status == 404
    head = {"Content-Type": "multipart/form-data"}
    assert call("POST", begun["upload_url"], body=b"1", headers=head).status == 400
