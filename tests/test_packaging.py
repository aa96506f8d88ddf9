"""What is built is what is in the repository, and it works where nothing else is."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINKED = ("actors", "channels", "config", "templates")

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the list of committed files"),
]


def run(*command: str, cwd: Path) -> str:
    """Run a command in a clean environment and return what it printed."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(  # noqa: S603 - our own commands
        command, cwd=cwd, env=kept, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a wheel and an sdist, built from the committed files as an installer would build them."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    run("git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(source), cwd=folder)
    # A builder that is given a folder makes the sdist from it and the wheel from the sdist.
    run(sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(source), cwd=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    return wheel, sdist


def test_the_wheel_holds_every_committed_file(built: tuple[Path, Path]) -> None:
    """Every module, template and default file is in the wheel, under the package's name."""
    tracked = run("git", "ls-tree", "-r", "--name-only", "HEAD", "knell", *LINKED, cwd=ROOT).split()
    links = {f"knell/{name}" for name in LINKED}
    wanted = {name if name.startswith("knell/") else f"knell/{name}" for name in tracked} - links
    with zipfile.ZipFile(built[0]) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("knell/")}
    assert packed == wanted


def test_the_sdist_holds_no_link(built: tuple[Path, Path]) -> None:
    """No build may depend on links: an unpacked sdist has plain files only, and the tests among them."""
    with tarfile.open(built[1]) as sdist:
        members = sdist.getmembers()
    assert [member.name for member in members if member.issym() or member.islnk()] == []
    assert any(member.name.endswith("/tests/test_packaging.py") for member in members)


def test_an_installed_wheel_plays_the_demo(built: tuple[Path, Path], tmp_path: Path) -> None:
    """The wheel, installed in an empty environment, has a command that delivers to all five channels."""
    venv.create(tmp_path / "env", with_pip=True)
    binaries = tmp_path / "env" / "bin"
    run(str(binaries / "pip"), "install", "--quiet", str(built[0]), cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    printed = run(str(binaries / "knell"), "demo", "--once", cwd=elsewhere)
    for channel in ("slack", "email", "discord", "webhook", "sms"):
        assert channel in printed
    assert run(str(binaries / "knell"), "check", cwd=elsewhere) is not None  # the packaged configuration
    assert list(elsewhere.iterdir()) == []
