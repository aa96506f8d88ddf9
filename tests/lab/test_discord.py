"""The stand-in for Discord webhooks, row by row."""

from collections.abc import Callable
from typing import Any

import pytest

from knell.lab import Answer, Lab, ManualClock, Respond, cloudflare, discord_view, too_many

Call = Callable[..., Answer]
Post = Callable[..., Answer]


@pytest.fixture
def post(lab: Lab, call: Call) -> Post:
    """Execute the webhook with wait=true."""

    def execute(payload: object, query: str = "", **options: object) -> Answer:
        return call("POST", f"{lab.discord.url}?wait=true{query}", json=payload, **options)

    return execute


def form(*parts: tuple[str, str | None, bytes]) -> dict[str, Any]:
    """Body and head of a multipart form of (name, filename, content)."""
    body = b""
    for name, filename, content in parts:
        head = f'Content-Disposition: form-data; name="{name}"'
        head += f'; filename="{filename}"' if filename is not None else ""
        body += b"--b\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"
    return {"body": body + b"--b--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}


def test_success(lab: Lab, post: Post) -> None:
    """With wait=true the answer is the message with its id and its channel."""
    answer = post({"content": "hello", "username": "NecroCode"})
    assert answer.status == 200
    said = answer.json
    assert (said["content"], said["author"]["username"]) == ("hello", "NecroCode")
    assert said["channel_id"].isdecimal()
    (message,) = lab.discord.messages
    assert (message.id, message.text) == (said["id"], "hello")


def test_without_wait(lab: Lab, call: Call) -> None:
    """Without wait it is 204, whether the message was taken or lost in silence."""
    assert call("POST", lab.discord.url, json={"content": "hello"}).status == 204
    lost = call("POST", lab.discord.url, json={"content": "x" * 2_001})
    assert (lost.status, lost.body) == (204, b"")
    assert [message.text for message in lab.discord.messages] == ["hello"]
    answer = lab.discord.requests[-1].answer
    assert answer is not None
    assert answer.refused == "lost in silence: Invalid Form Body"


@pytest.mark.parametrize("path", ["/api/webhooks/1/token", "/nothing"])
def test_an_unknown_webhook(lab: Lab, call: Call, path: str) -> None:
    """Unknown is for good: any later request to it is a violation."""
    for _ in range(2):
        answer = call("POST", lab.discord.base_url + path, json={"content": "x"})
        assert (answer.status, answer.json) == (404, {"message": "Unknown Webhook", "code": 10015})
    assert len(lab.discord.violations) == 1


def test_a_deleted_webhook(lab: Lab, post: Post) -> None:
    """A deleted webhook is unknown from then on."""
    lab.discord.revoke()
    assert post({"content": "x"}).json["code"] == 10015


def test_a_wrong_token(lab: Lab, call: Call) -> None:
    """The right id with another token is 401, 50027."""
    answer = call("POST", f"{lab.discord.url}x", json={"content": "x"})
    assert (answer.status, answer.json["code"]) == (401, 50027)


@pytest.mark.parametrize(
    "payload", [{"tts": False}, {"content": "  "}, {"embeds": []}, {"embeds": [{"type": "rich"}]}]
)
def test_nothing_to_send(post: Post, payload: dict[str, Any]) -> None:
    """A message without anything to show is 50006."""
    answer = post(payload)
    assert (answer.status, answer.json["code"]) == (400, 50006)


def embed(**parts: object) -> dict[str, Any]:
    """A payload of one embed."""
    return {"embeds": [{"title": "t", **parts}]}


def field(name: str = "n", value: str = "v") -> dict[str, str]:
    """An embed's field."""
    return {"name": name, "value": value}


LIMITS: dict[str, tuple[int, Callable[[int], dict[str, Any]]]] = {
    "content": (2_000, lambda n: {"content": "x" * n}),
    "embeds": (10, lambda n: {"embeds": [{"title": "t"}] * n}),
    "embeds.0.title": (256, lambda n: embed(title="x" * n)),
    "embeds.0.description": (4_096, lambda n: embed(description="x" * n)),
    "embeds.0.fields": (25, lambda n: embed(fields=[field()] * n)),
    "embeds.0.fields.0.name": (256, lambda n: embed(fields=[field(name="x" * n)])),
    "embeds.0.fields.0.value": (1_024, lambda n: embed(fields=[field(value="x" * n)])),
    "embeds.0.footer.text": (2_048, lambda n: embed(footer={"text": "x" * n})),
    "embeds.0.author.name": (256, lambda n: embed(author={"name": "x" * n})),
    "embeds.0.color": (0xFFFFFF, lambda n: embed(color=n)),
    "username": (80, lambda n: {"content": "x", "username": "n" * n}),
}


@pytest.mark.parametrize(
    ("path", "limit", "make"), [(path, *rest) for path, rest in LIMITS.items()], ids=LIMITS
)
def test_each_limit_at_its_edge(
    post: Post, path: str, limit: int, make: Callable[[int], dict[str, Any]]
) -> None:
    """What has exactly the limit is taken; one more is 50035, with the path to it."""
    assert post(make(limit)).status == 200
    answer = post(make(limit + 1))
    assert (answer.status, answer.json["code"]) == (400, 50035)
    node = answer.json["errors"]
    for name in path.split("."):
        node = node[name]
    assert node["_errors"]


def test_the_sum_of_all_embeds(post: Post) -> None:
    """Titles, descriptions, names, values, footers and authors of all embeds together: 6,000."""

    def embeds(last: int) -> dict[str, Any]:
        first = {"title": "x" * 100, "description": "x" * 4_000, "footer": {"text": "x" * 400}}
        second = {"author": {"name": "x" * 200}, "fields": [field("x" * 200, "x" * 1_000)]}
        return {"embeds": [first, second, {"description": "x" * last}]}

    assert post(embeds(100)).status == 200
    assert post(embeds(101)).json["code"] == 50035


def test_white_space_around_does_not_count(post: Post) -> None:
    """Texts are trimmed before they are counted."""
    assert post({"content": " " * 100 + "x" * 2_000 + "\n" * 100}).status == 200


@pytest.mark.parametrize(
    "payload",
    [
        {"content": 1},
        {"content": "x", "username": ""},
        {"content": "x", "username": "my Clyde bot"},
        {"content": "x", "username": "DISCORD"},
        {"content": "x", "avatar_url": "nothing"},
        {"content": "x", "avatar_url": "http://[bad/"},
        {"content": "x", "embeds": {}},
        {"embeds": [1]},
        embed(fields=[field(name="")]),
        embed(fields=[field(value=" ")]),
        embed(fields={}),
        embed(color=-1),
        embed(color="red"),
        embed(color=True),
        embed(url="ftp://x.io"),
        embed(url="https://"),
        embed(url="https://x.io/a b"),
        embed(image={"url": "attachment://nothing.png"}),
        embed(thumbnail={"url": "x"}),
        embed(author={"name": "a", "url": "x"}),
        embed(footer={"text": "a", "icon_url": "x"}),
        embed(timestamp="yesterday"),
        {"content": "x", "allowed_mentions": []},
        {"content": "x", "allowed_mentions": {"parse": ["channels"]}},
        {"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}},
        {"content": "x", "flags": "many"},
        {"content": "x", "flags": 1 << 15, "components": [{"type": 10, "content": "x"}]},
        {"embeds": [{"title": "t"}], "flags": 1 << 15},
    ],
)
def test_forms_that_are_refused(lab: Lab, post: Post, payload: dict[str, Any]) -> None:
    """Each malformed part is 50035, and nothing is stored."""
    answer = post(payload)
    assert (answer.status, answer.json["code"]) == (400, 50035)
    assert lab.discord.messages == ()


def test_forms_that_are_taken(lab: Lab, post: Post) -> None:
    """What Discord documents passes, with every optional part."""
    payload = {
        "content": "x",
        "avatar_url": "https://x.io/a.png",
        "allowed_mentions": {"parse": [], "users": ["1"]},
        "flags": 1 << 12,
        **embed(
            color=0,
            url="https://x.io",
            timestamp="2026-01-01T00:00:00.000Z",
            author={"name": "a", "url": "https://x.io", "icon_url": "https://x.io/i.png"},
            thumbnail={"url": "https://x.io/t.png"},
            footer={"text": "f"},
            fields=[{**field(value="\u200b"), "inline": True}],
        ),
    }
    assert post(payload).status == 200
    components = {"flags": 1 << 15, "components": [{"type": 10, "content": "x"}]}
    assert post(components, "&with_components=true").status == 200
    assert lab.discord.violations == ()


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_json_object(lab: Lab, call: Call, body: bytes) -> None:
    """What cannot be read is a 400 of its own code."""
    answer = call("POST", f"{lab.discord.url}?wait=true", body=body)
    assert (answer.status, answer.json["code"]) == (400, 50109)


def test_forums_and_threads(lab: Lab, call: Call, post: Post) -> None:
    """A forum needs a thread, new or known; a text channel takes known ones and makes none."""
    forum = f"{lab.discord.forum_url}?wait=true"
    assert call("POST", forum, json={"content": "x"}).json["code"] == 220001
    opened = call("POST", forum, json={"content": "x", "thread_name": "job"})
    assert opened.status == 200
    thread = lab.discord.messages[0].thread
    assert call("POST", f"{forum}&thread_id={thread}", json={"content": "y"}).status == 200
    assert lab.discord.messages[1].thread == thread
    assert post({"content": "x", "thread_name": "job"}).json["code"] == 220003
    unknown = post({"content": "x"}, "&thread_id=1")
    assert (unknown.status, unknown.json["code"]) == (404, 10003)
    known = lab.discord.add_thread()
    assert post({"content": "x"}, f"&thread_id={known}").json["channel_id"] == known
    lab.discord.delete_thread(known)
    assert post({"content": "x"}, f"&thread_id={known}").json["code"] == 10003


@pytest.mark.parametrize("name", ["", " ", "x" * 101, 7])
def test_names_of_threads(lab: Lab, call: Call, name: object) -> None:
    """A thread's name has 1 to 100 characters."""
    answer = call("POST", f"{lab.discord.forum_url}?wait=true", json={"content": "x", "thread_name": name})
    assert (answer.status, answer.json["code"]) == (400, 50035)


def test_a_post_is_new_or_known(lab: Lab, call: Call) -> None:
    """Name and id of a thread exclude each other."""
    forum = f"{lab.discord.forum_url}?wait=true"
    post = call("POST", forum, json={"content": "x", "thread_name": "job"}).json["channel_id"]
    both = call("POST", f"{forum}&thread_id={post}", json={"content": "x", "thread_name": "job"})
    assert (both.status, both.json["code"]) == (400, 220002)


def test_components_must_be_announced(post: Post) -> None:
    """Without with_components they are ignored; alone they are then nothing at all."""
    row = {"type": 1, "components": [{"type": 2, "style": 5, "label": "Log", "url": "https://x.io"}]}
    assert post({"content": "x", "components": [row]}).json["components"] == []
    assert post({"content": "x", "components": [row]}, "&with_components=true").json["components"] == [row]
    assert post({"components": [row]}).json["code"] == 50006


def test_too_many_files(lab: Lab, call: Call) -> None:
    """A message holds ten."""
    parts = form(*((f"files[{number}]", f"{number}.txt", b"1") for number in range(11)))
    answer = call("POST", f"{lab.discord.url}?wait=true", **parts)
    assert (answer.status, answer.json["code"]) == (400, 30015)


def test_files(lab: Lab, call: Call) -> None:
    """Files come in a form beside the JSON, byte for byte, and embeds may show them by name."""
    payload = b'{"embeds": [{"image": {"url": "attachment://a.png"}}], "attachments": [{"id": 0}]}'
    parts = form(("payload_json", None, payload), ("files[0]", "a.png", b"\x89PNG\r\n--\x00\r\n"))
    answer = call("POST", f"{lab.discord.url}?wait=true", **parts)
    assert (answer.status, answer.json["attachments"][0]["filename"]) == (200, "a.png")
    assert [(file.name, file.content) for file in lab.discord.messages[0].files] == [
        ("a.png", b"\x89PNG\r\n--\x00\r\n")
    ]


def test_a_file_alone_with_plain_fields(lab: Lab, call: Call) -> None:
    """A file needs no text; text may also come as a field of the form."""
    assert call("POST", f"{lab.discord.url}?wait=true", **form(("file", "a.txt", b"1"))).status == 200
    both = form(("content", None, b"hello"), ("files[0]", "a.txt", b"1"))
    assert call("POST", f"{lab.discord.url}?wait=true", **both).json["content"] == "hello"


@pytest.mark.parametrize(
    ("parts", "status", "code"),
    [
        ([("payload_json", None, b'{"content": "x"}'), ("files[0]", None, b"1")], 400, 50035),
        ([("payload_json", None, b'{"content": "x"}'), ("files[0]", "", b"1")], 400, 50035),
        ([("payload_json", None, b'{"attachments": [{"id": 1}]}'), ("files[0]", "a", b"1")], 400, 50035),
        ([("payload_json", None, b"{"), ("files[0]", "a", b"1")], 400, 50109),
        ([("files[0]", "a.bin", b"x" * (10 * 1024 * 1024 + 1))], 413, 40005),
    ],
)
def test_files_that_are_refused(
    lab: Lab, call: Call, parts: list[tuple[str, str | None, bytes]], status: int, code: int
) -> None:
    """A file without a name, one that is described and missing, and one that is too large."""
    answer = call("POST", f"{lab.discord.url}?wait=true", **form(*parts))
    assert (answer.status, answer.json["code"]) == (status, code)


def test_a_file_of_the_largest_size(lab: Lab, call: Call) -> None:
    """Exactly 10 MiB pass."""
    body = form(("files[0]", "a.bin", b"x" * (10 * 1024 * 1024)))
    assert call("POST", f"{lab.discord.url}?wait=true", **body).status == 200


def test_an_edit(lab: Lab, call: Call, post: Post) -> None:
    """PATCH changes the message in its place; other parts stay; GET shows it."""
    message_id = post({"content": "running", "embeds": [{"title": "job"}]}).json["id"]
    url = f"{lab.discord.url}/messages/{message_id}"
    assert call("PATCH", url, json={"content": "done"}).json["content"] == "done"
    (message,) = lab.discord.messages
    assert (message.text, message.edits) == ("done\njob", 1)
    assert call("GET", url).json["embeds"] == [{"title": "job"}]
    assert call("PATCH", url, json={"content": "x" * 2_001}).json["code"] == 50035
    assert lab.discord.messages[0].text == "done\njob"


def test_files_of_an_edit(lab: Lab, call: Call) -> None:
    """The list of attachments says which files stay beside the new ones; without a list all stay."""
    two = form(("files[0]", "a.txt", b"a"), ("files[1]", "b.txt", b"b"))
    said = call("POST", f"{lab.discord.url}?wait=true", **two).json
    url = f"{lab.discord.url}/messages/{said['id']}"
    kept = said["attachments"][1]["id"]

    def names(**body: Any) -> list[str]:
        assert call("PATCH", url, **body).status == 200
        return [file.name for file in lab.discord.messages[0].files]

    assert names(json={"content": "x"}) == ["a.txt", "b.txt"]
    payload = f'{{"attachments": [{{"id": "{kept}"}}, {{"id": 0}}]}}'.encode()
    assert names(**form(("payload_json", None, payload), ("files[0]", "c.txt", b"c"))) == ["b.txt", "c.txt"]
    assert call("PATCH", url, json={"attachments": [{"id": "7"}]}).json["code"] == 50035
    assert names(json={"attachments": []}) == []


def test_a_deleted_message_cannot_be_edited(lab: Lab, call: Call, post: Post) -> None:
    """It is unknown from then on; the record of what readers saw stays."""
    message_id = post({"content": "x"}).json["id"]
    lab.discord.delete_message(message_id)
    edit = call("PATCH", f"{lab.discord.url}/messages/{message_id}", json={"content": "y"})
    assert edit.json["code"] == 10008
    assert [message.text for message in lab.discord.messages] == ["x"]


def test_an_edit_of_nothing(lab: Lab, call: Call, post: Post) -> None:
    """An unknown message is 404, 10008; so is one in a thread that is not named."""
    assert call("PATCH", f"{lab.discord.url}/messages/1", json={"content": "x"}).json["code"] == 10008
    thread = lab.discord.add_thread()
    message_id = post({"content": "x"}, f"&thread_id={thread}").json["id"]
    url = f"{lab.discord.url}/messages/{message_id}"
    assert call("PATCH", url, json={"content": "y"}).json["code"] == 10008
    assert call("PATCH", f"{url}?thread_id={thread}", json={"content": "y"}).status == 200


def test_the_webhook_itself(lab: Lab, call: Call) -> None:
    """GET tells what the webhook is without posting; other methods are refused."""
    assert call("GET", lab.discord.url).json["type"] == 1
    assert call("DELETE", lab.discord.url).status == 405
    assert call("GET", lab.discord.add_webhook()).status == 200


def test_rate_headers_and_the_sixth_request(lab: Lab, post: Post, clock: ManualClock) -> None:
    """Five in two seconds, told by headers on every answer; the sixth is a 429 of Discord's own form."""
    answers = [post({"content": str(number)}) for number in range(4)]
    answers.append(post({"content": "x" * 2_001}))
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["4", "3", "2", "1", "0"]
    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"5"}
    assert len({answer.headers["X-RateLimit-Bucket"] for answer in answers}) == 1
    clock.advance(0.75)
    refused = post({"content": "6"})
    said = {"message": "You are being rate limited.", "retry_after": 1.25, "global": False}
    assert (refused.status, refused.json) == (429, said)
    assert refused.headers["X-RateLimit-Reset-After"] == "1.250"
    assert refused.headers["X-RateLimit-Reset"] == "1700000001.750"
    assert refused.headers["X-RateLimit-Scope"] == "user"
    assert refused.headers["Retry-After"] == "2"
    assert "X-RateLimit-Global" not in refused.headers
    clock.advance(1.25)
    post({"content": "6"})
    clock.advance(0.75)
    assert post({"content": "7"}).status == 200
    # The larger of header and JSON counts: the request after 1.25 s came too early.
    assert len(lab.discord.violations) == 1


def test_the_window_may_be_shorter(lab: Lab, post: Post, clock: ManualClock) -> None:
    """A test that has to wait for windows need not wait long."""
    lab.discord.window_seconds = 0.5
    assert lab.discord.window_seconds == 0.5
    assert [post({"content": str(number)}).status for number in range(6)] == [200] * 5 + [429]
    clock.advance(0.5)
    assert post({"content": "6"}).status == 200


def test_a_scripted_wait_that_is_none(post: Post, lab: Lab) -> None:
    """A test may script nonsense; nobody can be held to it."""
    lab.discord.script(Respond(429, {"retry_after": "soon"}))
    assert post({"content": "x"}).status == 429
    assert post({"content": "x"}).status == 200
    assert lab.discord.violations == ()


def test_scripted_limits(lab: Lab, call: Call, post: Post, clock: ManualClock) -> None:
    """A global limit closes every webhook; so does the page that is not Discord's."""
    other = f"{lab.discord.add_webhook()}?wait=true"
    lab.discord.script(too_many(1.5, everywhere=True))
    limited = post({"content": "x"})
    assert (limited.json["global"], limited.headers["X-RateLimit-Global"]) == (True, "true")
    assert limited.headers["X-RateLimit-Scope"] == "global"
    clock.advance(1)
    call("POST", other, json={"content": "x"})
    assert len(lab.discord.violations) == 1
    clock.advance(10)
    lab.discord.script(cloudflare())
    page = post({"content": "x"})
    assert (page.status, page.headers["Content-Type"]) == (429, "text/html")
    clock.advance(59)
    call("POST", other, json={"content": "y"})
    assert len(lab.discord.violations) == 2


def test_header_and_json_may_disagree(post: Post, lab: Lab) -> None:
    """A script can let them."""
    lab.discord.script(too_many(0.5, header=3, scope="shared"))
    limited = post({"content": "x"})
    assert (limited.json["retry_after"], limited.headers["Retry-After"]) == (0.5, "3")
    assert limited.headers["X-RateLimit-Scope"] == "shared"


def test_the_ban(lab: Lab, call: Call, post: Post, clock: ManualClock) -> None:
    """Too many 401, 403 and 429 within ten minutes end everything; shared limits do not count."""
    lab.discord.ban_after = 3
    lab.discord.script(too_many(0, scope="shared"), too_many(0), Respond(403))
    for _ in range(3):
        post({"content": "x"})
    assert post({"content": "x"}).status == 200
    clock.advance(601)
    call("POST", f"{lab.discord.url}x", json={"content": "x"})
    assert post({"content": "x"}).status == 200
    lab.discord.script(too_many(0), too_many(0))
    for _ in range(2):
        post({"content": "x"})
    banned = post({"content": "x"})
    assert (banned.status, banned.headers["Content-Type"]) == (403, "text/html")
    clock.advance(10_000)
    assert post({"content": "x"}).status == 403


@pytest.mark.parametrize(
    ("content", "allowed", "pings"),
    [
        ("@everyone", None, ("@everyone",)),
        ("\\@here", None, ("@here",)),
        ("<@12> <@!13> <@&14>", None, ("<@12>", "<@!13>", "<@&14>")),
        ("@everyone <@12> <@&14>", {"parse": []}, ()),
        ("@everyone <@12>", {"parse": ["everyone"]}, ("@everyone",)),
        ("<@12> <@13>", {"users": ["13"]}, ("<@13>",)),
        ("<@&14> <@12>", {"parse": ["roles"]}, ("<@&14>",)),
        ("@\u200beveryone", None, ()),
    ],
)
def test_who_is_pinged(content: str, allowed: dict[str, Any] | None, pings: tuple[str, ...]) -> None:
    """Only allowed_mentions keeps a mention from ringing; a backslash does not."""
    payload = {"content": content, **({} if allowed is None else {"allowed_mentions": allowed})}
    text, _, found = discord_view.read(payload)
    assert found == pings
    assert text.count("[MENTION ") == len(pings)


def test_embeds_ping_nobody() -> None:
    """A mention in an embed is only shown."""
    assert discord_view.read({"embeds": [{"description": "@everyone <@12>"}]})[2] == ()


def test_what_a_reader_sees() -> None:
    """Escapes are undone; the parts of an embed follow each other; the title is the first embed's."""
    text, title, _ = discord_view.read(
        {
            "content": "a\\*b\\_c \\\\ d",
            "embeds": [
                {
                    "author": {"name": "knell"},
                    "title": "job \\#1",
                    "description": "\\<done\\>",
                    "fields": [{"name": "k", "value": "v"}],
                    "footer": {"text": "f"},
                }
            ],
        }
    )
    assert text.split("\n") == ["a*b_c \\ d", "knell", "job #1", "<done>", "k", "v", "f"]
    assert title == "job #1"


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ("\\`a\\*b\\`", "`a*b`"),
        ("`a\\*b` c\\*d", "`a\\*b` c*d"),
        ("```\na\\*b\n``` c\\*d", "```\na\\*b\n``` c*d"),
        ("a \\ b", "a \\ b"),
    ],
)
def test_code_knows_no_escapes(content: str, seen: str) -> None:
    """Between backticks a backslash is shown as what it is."""
    assert discord_view.read({"content": content})[0] == seen


def test_the_same_message_twice_is_a_duplicate(lab: Lab, post: Post) -> None:
    """Readers see it twice; the record says that the second was a duplicate."""
    for content in ("one", "one", "two"):
        post({"content": content})
    assert [message.text for message in lab.discord.duplicates] == ["one"]
