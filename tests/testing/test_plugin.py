"""A third party's channel: a distribution of its own, found by its entry point, checked by the suite."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "pager_channel"

DELIVER = """
import sys
import knell
from knell.channels.registry import find, known_types
from knell.testing.provider import Provider, Providers

assert "pager" in known_types()
assert find("pager").__module__ == "pager.channel"
with Providers(Provider) as lab:
    section = {"type": "pager", "url": lab.provider.base_url, "token": "t", "events": ["*"]}
    config = {
        "channels": {"on-duty": section},
        "security": {"require_tls": False, "allowed_networks": ["127.0.0.0/8"]},
        "store": {"url": "sqlite:///" + sys.argv[1]},
    }
    with knell.start(config) as manager:
        event = knell.NotificationEvent(event_type="job_failed", source="ci", title="nightly")
        (result,) = manager.notify_and_wait(event)
    print(result.success, lab.provider.messages[0].text)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the example and install it into a folder of its own, as pip does."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    run(*pip, "--target", str(folder / "site"), str(folder / "source"), cwd=folder)
    return folder / "site"


def run(*command: str, cwd: Path, path: str = "") -> str:
    """Run a command to its end, with a folder of packages in front, and return what it printed."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    environ = {**kept, "PYTHONPATH": os.pathsep.join([path, str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(  # noqa: S603 - our own commands
        command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_an_installed_channel_delivers(installed: Path, tmp_path: Path) -> None:
    """Its type is known by its entry point, and a system delivers through it."""
    script = tmp_path / "deliver.py"
    script.write_text(DELIVER)
    printed = run(sys.executable, str(script), str(tmp_path / "knell.db"), cwd=tmp_path, path=str(installed))
    done, _, body = printed.partition(" ")
    assert done == "True"
    assert "nightly" in json.loads(body)["text"]


def test_the_command_line_knows_it(installed: Path, tmp_path: Path) -> None:
    """Its keys are checked, and its hints given, as those of the channels that come with knell."""
    section = {"url": "https://p.example.com", "tokn": "x", "events": ["*"]}
    (tmp_path / "pager.yaml").write_text(json.dumps({"channels": {"pager": section}}))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-m", "knell", "check", "pager.yaml"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78
    assert "unknown key 'tokn'" in done.stdout
    assert "did you mean 'token'?" in done.stdout


@pytest.mark.slow
def test_the_example_passes_the_suite(installed: Path, tmp_path: Path) -> None:
    """The third party's own tests, in a folder that knows nothing of ours: all pass, none is left out."""
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    printed = run(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "tests"),
        cwd=tmp_path,
        path=str(installed),
    )
    assert " passed" in printed
    assert "skipped" not in printed
    assert "failed" not in printed


LAB = """
import knell

def test_it(knell_lab, tmp_path):
    config = knell_lab.config() | {"store": {"url": f"sqlite:///{tmp_path}/knell.db"}}
    with knell.start(config) as manager:
        event = knell.NotificationEvent(event_type="job_failed", source="ci", title="nightly")
        results = manager.notify_and_wait(event)
    assert len(results) == 5
    assert all(result.success for result in results)
"""


def test_the_lab_as_a_fixture(pytester: pytest.Pytester) -> None:
    """An embedder's test takes `knell_lab`, and everything it sends arrives there."""
    pytester.makepyfile(LAB)
    ran = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    ran.assert_outcomes(passed=1)


def test_the_plugin_is_inert(pytester: pytest.Pytester) -> None:
    """Where nobody uses it, none of the heavy modules is loaded."""
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert "knell.testing.plugin" in sys.modules
            heavy = {"aiohttp", "pykka", "pydantic", "knell.lab", "knell.manager", "knell.testing.local"}
            assert heavy.isdisjoint(sys.modules)
        """
    )
    pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider").assert_outcomes(passed=1)
