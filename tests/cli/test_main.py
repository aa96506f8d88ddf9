import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import knell
from knell.cli.main import COMMANDS, cli
from knell.config.load import examine

Run = Callable[..., subprocess.CompletedProcess[str]]

HEAVY = {"aiohttp", "aiosmtplib", "jinja2", "pydantic", "pykka", "prometheus_client", "structlog", "yaml"}


def imported(environ: dict[str, str], *arguments: str) -> set[str]:
    """Return the top-level modules that a command imports."""
    result = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-X", "importtime", "-m", "knell", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=environ,
    )
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in result.stderr.splitlines()}


def test_help_lists_what_there_is() -> None:
    """Every command with its help, in the order of the table; and what the exit codes mean."""
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    lines = [line.split(maxsplit=1) for line in result.output.partition("Commands:\n")[2].splitlines()]
    assert [line for line in lines if len(line) == 2][: len(COMMANDS)] == [
        [*item] for item in COMMANDS.items()
    ]
    assert "78 bad configuration" in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there(name: str) -> None:
    """The short help of the table is the command's own, so that neither grows old alone."""
    command = import_module(f"knell.cli.{name}").command
    assert isinstance(command, click.Command)
    assert command.get_short_help_str(100) == COMMANDS[name]
    assert CliRunner().invoke(cli, [name, "--help"]).exit_code == 0


def test_the_default_configuration_names_only_commands_that_there_are() -> None:
    """Its comments are what a newcomer types first."""
    text = (Path(import_module("knell.config").__file__ or "").parent / "notifications.yaml").read_text()
    named = set(re.findall(r"`knell (\w+)", text))
    assert named
    assert named <= set(COMMANDS)


def test_a_misspelt_command_is_wrong_usage_with_a_suggestion() -> None:
    """Exit code 2."""
    result = CliRunner().invoke(cli, ["sedn"])
    assert result.exit_code == 2
    assert "Did you mean 'send'?" in result.output


def test_a_channel_in_the_working_directory_is_found(folder: Path, environ: dict[str, str]) -> None:
    """The installed command finds what `python -m knell` finds; what lies there hides no installed module."""
    (folder / "click.py").write_text("raise SystemExit('hidden')")
    result = subprocess.run(
        [sys.executable, "-P", "-c", "from knell.cli.main import main; main()", "check"],
        cwd=folder,
        env={**environ, "PYTHONPATH": str(Path(knell.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_the_version_is_told() -> None:
    """As programs read it: name and number."""
    result = CliRunner().invoke(cli, ["--version"], prog_name="knell")
    assert (result.exit_code, result.output) == (0, "knell 0.1.0\n")


def test_help_imports_nothing_heavy(environ: dict[str, str]) -> None:
    """It answers at once."""
    assert not imported(environ, "--help") & HEAVY
    assert not imported(environ, "send", "--help") & HEAVY


@pytest.mark.parametrize(
    "arguments", [["send", "x", "--title", "x"], ["dead", "ls"], ["dead", "show", "x:y"]]
)
def test_asking_a_service_imports_nothing_heavy(environ: dict[str, str], arguments: list[str]) -> None:
    """A script that sends an event, or looks at one, does not wait for a whole system to load."""
    loaded = imported(environ, *arguments, "--url", "http://127.0.0.1:9")
    assert "http" in loaded
    assert not loaded & HEAVY


def test_the_schema_is_the_configurations(folder: Path) -> None:
    """JSON on stdout, for every channel type there is."""
    result = CliRunner().invoke(cli, ["schema"])
    assert (result.exit_code, result.stderr) == (0, "")
    schema = json.loads(result.stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {"type:slack", "type:email", "type:console"} <= schema["$defs"].keys()
    del folder


def test_init_writes_what_works(folder: Path) -> None:
    """A configuration that `check` accepts, every variable it names, and what to do next."""
    result = CliRunner().invoke(cli, ["init", "new"])
    assert (result.exit_code, result.stdout) == (0, "")
    names = ("config/notifications.yaml", "config/notifications.schema.json", ".env.example")
    assert "".join(f"wrote new/{name}\n" for name in names) in result.stderr
    assert "1. cd new\n" in result.stderr
    first, *_ = (folder / "new" / names[0]).read_text().splitlines()
    assert first == f"# yaml-language-server: $schema={Path(names[1]).name}"
    assert json.loads((folder / "new" / names[1]).read_text())["$defs"]
    assert CliRunner().invoke(cli, ["check", "new/config/notifications.yaml"]).exit_code == 0
    example = (folder / "new" / ".env.example").read_text()
    assert "# slack\nSLACK_WEBHOOK_URL=\n" in example
    assert example.count("EMAIL_PASSWORD=") == 1
    assert "\nNAME=" not in example


def test_the_variables_of_init_are_all_there_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With each of them set, no channel misses one."""
    CliRunner().invoke(cli, ["init", "new"])
    lines = (folder / "new" / ".env.example").read_text().splitlines()
    for line in lines:
        if line and not line.startswith("#"):
            monkeypatch.setenv(line.removesuffix("="), "x")
    path = folder / "new" / "config" / "notifications.yaml"
    assert examine((path,), section_model=_any_section).warnings == ()


def _any_section(_type: str) -> Any:
    from knell.config.schema import OpenChannelConfig  # noqa: PLC0415

    return OpenChannelConfig


def test_init_overwrites_nothing_unless_forced(folder: Path) -> None:
    """What somebody wrote is worth more than an example; and nothing is written half."""
    before = (folder / "config" / "notifications.yaml").read_text()
    result = CliRunner().invoke(cli, ["init"])
    assert result.exit_code == 1
    assert result.stderr == "Error: config/notifications.yaml is there already; --force overwrites\n"
    assert not (folder / ".env.example").exists()
    assert (folder / "config" / "notifications.yaml").read_text() == before
    assert CliRunner().invoke(cli, ["init", "--force"]).exit_code == 0
    assert (folder / "config" / "notifications.yaml").read_text() != before


def test_init_says_where_it_cannot_write(folder: Path) -> None:
    """No traceback for a folder that is a file."""
    (folder / "file").touch()
    result = CliRunner().invoke(cli, ["init", "file"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: cannot write file/config: ")


def test_python_m_knell_is_the_command(run: Run) -> None:
    """It calls itself by its name."""
    result = run("--help")
    assert (result.returncode, result.stdout.splitlines()[0]) == (
        0,
        "Usage: knell [OPTIONS] COMMAND [ARGS]...",
    )
