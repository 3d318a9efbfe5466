"""``make`` removes nothing but what it has made."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .commands import ROOT

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
]


PYTHON = """#!/bin/sh
if [ "$2" = venv ]; then rm -rf "$4" && mkdir -p "$4/bin" && cp "$0" "$4/bin/python"; fi
"""
"""Empties directories as the real one does, and installs nothing."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "pyproject.toml", "precious/letter"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("Dear Maria")
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    return tmp_path


def make(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    return subprocess.run(  # noqa: S603 (our own Makefile)
        ["make", *arguments, "PYTHON=./python"],  # noqa: S607
        cwd=checkout,
        env=plain | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("how", ["environment", "argument", "forced"])
@pytest.mark.parametrize("target", ["clean", "types"])
def test_a_directory_that_make_has_not_made_is_left_alone(
    checkout: Path, target: str, how: str
) -> None:
    if how == "argument":
        result = make(checkout, target, "VENV=precious")
    else:
        result = make(checkout, *(["-e"] if how == "forced" else []), target, VENV="precious")
    assert (checkout / "precious" / "letter").read_text() == "Dear Maria"
    assert (result.returncode == 0) is (target == "clean")
    if target != "clean":
        assert "precious was not made by make, which would empty it" in result.stderr


def test_its_own_directory_is_made_anew_and_cleaned(checkout: Path) -> None:
    (checkout / "empty").mkdir()
    for venv in (".venv", "empty"):
        ready = checkout / venv / ".ready"
        make(checkout, str(ready.relative_to(checkout)), VENV=venv)
        assert ready.stat().st_mtime >= (checkout / "pyproject.toml").stat().st_mtime
        os.utime(ready, (0, 0))  # As if the requirements had changed since.
        (ready.parent / "old").touch()
        make(checkout, str(ready.relative_to(checkout)), VENV=venv)
        assert ready.exists()
        assert not (ready.parent / "old").exists()
        assert make(checkout, "clean", VENV=venv).returncode == 0
        assert not ready.parent.exists()
