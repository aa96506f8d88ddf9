import pytest

from knell.config.problems import Problem, did_you_mean, excerpt, in_order, refuse
from knell.errors import ConfigError


def test_a_problem_prints_its_place_message_hint_line_and_caret() -> None:
    """The first line is what editors and logs understand; the caret stands under the column."""
    shown = excerpt("  severty: x", 3)
    problem = Problem("a.yaml", 7, 3, "unknown key 'severty'", "did you mean 'severity'?", shown)
    assert str(problem) == (
        "a.yaml:7:3: unknown key 'severty', did you mean 'severity'?\n    severty: x\n    ^"
    )


def test_a_problem_of_a_mapping_names_the_dotted_path() -> None:
    """Settings that came from a program have no lines."""
    problem = Problem("settings", 0, 0, "expected text", path="channels.slack.channel")
    assert str(problem) == "channels.slack.channel: expected text"


def test_a_problem_of_a_whole_file_names_the_file() -> None:
    """A missing file has neither line nor path."""
    assert str(Problem("a.yaml", 0, 0, "cannot be read")) == "a.yaml: cannot be read"


def test_problems_are_sorted_by_file_and_position_and_listed_once() -> None:
    """A value shared by an alias is complained of twice at one place."""
    first, second, third = (
        Problem("a.yaml", 2, 9, "x"),
        Problem("a.yaml", 10, 1, "x"),
        Problem("b.yaml", 1, 1, "x"),
    )
    assert in_order([third, second, first, second]) == (first, second, third)


def test_the_error_lists_every_problem_and_carries_them() -> None:
    """A person who fixes what the message shows needs no second run."""
    problems = [Problem("a.yaml", line, 1, f"wrong {line}") for line in range(1, 40)]
    with pytest.raises(ConfigError) as caught:
        refuse(problems)
    assert caught.value.problems == tuple(problems)
    assert str(caught.value).splitlines() == [
        "39 problems in the configuration",
        *(f"a.yaml:{line}:1: wrong {line}" for line in range(1, 40)),
    ]


def test_suggestions_are_made_for_near_words_only() -> None:
    """A far-fetched suggestion is worse than none."""
    assert did_you_mean("severty", ["severity", "source"]) == "did you mean 'severity'?"
    assert did_you_mean("zzz", ["severity", "source"]) == ""


def test_the_caret_stands_under_its_column_whatever_the_width_of_the_characters() -> None:
    """Tabs stay tabs, and a Japanese character takes two columns of a terminal."""
    line, caret = excerpt("\t通知: x", 5).splitlines()
    assert line == "  \t通知: x"
    assert caret == "  \t     ^"


def test_a_long_line_is_shown_around_the_caret() -> None:
    """A long line must not fill the terminal, and of a file in one line nothing is shown."""
    assert excerpt("x" * 1001, 1) == ""
    shown = excerpt("x" * 400 + "HERE" + "y" * 400, 401)
    line, caret = shown.splitlines()
    assert len(line) <= 112
    assert line[caret.index("^") :].startswith("HERE")


def test_control_characters_do_not_reach_the_terminal() -> None:
    """An excerpt of a hostile file must not move the cursor."""
    assert "\x1b" not in excerpt("a: \x1b[2J", 1)


CANARY = "c4n4ry-0123456789"


@pytest.mark.parametrize(
    "line",
    [
        f"password: {CANARY}",
        f'  smtp_password: "{CANARY}',
        f"  'auth_token': {CANARY}",
        f"slack: {{webhook_url: https://example.com/{CANARY}, chanel: x}}",
        f"- https://hooks.slack.com/services/{CANARY}",
        f"url: https://discord.com/api/webhooks/1/{CANARY}",
        f"url: postgresql://user:{CANARY}@db/knell",
        f"headers: {{X: Bearer {CANARY}}}",
        f"bot: xoxb-{CANARY}",
        f"key: whsec_{CANARY}",
        f"api-key:   {CANARY}, and more {CANARY}",
    ],
)
@pytest.mark.parametrize("column", [1, 3, 12, 30])
def test_what_looks_like_a_credential_is_masked_in_a_source_line(line: str, column: int) -> None:
    """A line of the file is shown to people and lands in logs."""
    assert CANARY not in excerpt(line, column)


def test_references_are_shown_because_they_tell_nothing() -> None:
    """A masked `${NAME}` would hide the one thing that helps."""
    assert "${SLACK_URL}" in excerpt("  webhook_url: ${SLACK_URL}", 16)
    assert "channle" in excerpt('slack: {webhook_url: "${SLACK_URL}", channle: x}', 38)


def test_a_hidden_value_is_masked_from_its_column_on() -> None:
    """The value of a field that holds a credential is masked whatever its key is called."""
    assert excerpt(f"  url: {CANARY}", 8, hidden=True) == "    url: ***\n         ^"
