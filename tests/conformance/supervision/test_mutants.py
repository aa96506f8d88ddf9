"""Whether the cases would notice: every promise, once taken out, makes one of them fail."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.supervision.mutants import MUTANTS

SUITE = Path(__file__).parent
PASSED, FAILED = 0, 1
"""pytest's exit codes when tests ran."""


def _run(cases: str, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout", "30"]
    command += ["-p", "tests.conformance.supervision.mutants", *options, "-k", cases, str(SUITE)]
    return subprocess.run(  # noqa: S603 - our own tests
        command, cwd=SUITE.parents[2], capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_promise_is_noticed(name: str) -> None:
    """A suite that passes without the promise does not test it."""
    ran = _run(MUTANTS[name].cases, "--mutant", name)
    noticed = ran.returncode == FAILED and re.search(r"^FAILED .*::test_\d\d_", ran.stdout, re.MULTILINE)
    assert noticed, f"{MUTANTS[name].promise}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}"


@pytest.mark.slow
def test_the_same_cases_pass_when_nothing_is_broken() -> None:
    """Else the mutants would prove nothing."""
    ran = _run(" or ".join(mutant.cases for mutant in MUTANTS.values()))
    assert ran.returncode == PASSED, ran.stdout[-2000:]


def test_there_are_enough_of_them() -> None:
    """Ten at least, each with cases that exist."""
    assert len(MUTANTS) >= 10
    source = "".join(file.read_text() for file in SUITE.glob("test_*.py"))
    names = re.findall(r"^def (test_\d\d_)", source, re.MULTILINE)
    for mutant in MUTANTS.values():
        assert set(mutant.cases.split(" or ")) <= set(names)
