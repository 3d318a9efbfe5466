"""The tests on other versions of Python and Django, against the wheel as it is published."""

import os
import shutil
import subprocess
from pathlib import Path

import nox

VERSIONS = [("3.11", "5.2"), ("3.12", "6.1"), ("3.13", "6.1")]
BESIDE_THE_PACKAGE = (
    "benchmarks",
    "docs",
    "Makefile",
    "manage.py",
    "project",
    "pyproject.toml",
    "README.md",
    "templates",
    "tests",
)
OF_THE_CHECKOUT = (
    "--ignore=tests/test_docs_names.py",
    "--ignore=tests/test_modules.py",
    "--ignore=tests/test_typing.py",
    "--deselect=tests/test_docs.py::test_links_lead_somewhere",
)
"""Tests that look at the source code."""

nox.options.error_on_missing_interpreters = False
if pyenv := shutil.which("pyenv"):  # Its python3.x commands work for the versions named so.
    found = subprocess.check_output([pyenv, "versions", "--bare"], text=True)  # noqa: S603
    os.environ.setdefault("PYENV_VERSION", ":".join(found.split()))


@nox.session
@nox.parametrize("python,django", VERSIONS, ids=[" ".join(pair) for pair in VERSIONS])
def tests(session: nox.Session, django: str) -> None:
    """Run the tests; the arguments go to pytest."""
    run(session, f"django~={django}.0")


@nox.session(python="3.10")
def lowest(session: nox.Session) -> None:
    """Do so with the lowest version of each package that the wheel allows."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    pinned = [package.replace(">=", "==") for package in project["dependencies"]]
    run(session, *pinned)


def run(session: nox.Session, *packages: str) -> None:
    """Run the tests against the wheel with these versions of what it needs."""
    here = Path.cwd()
    dist = Path(session.create_tmp()) / "dist"
    session.install("build", "-r", "requirements.txt")
    session.run("python", "-m", "build", "--wheel", "--outdir", str(dist), silent=True)
    session.run("pip", "uninstall", "--yes", "--quiet", "django-botsessions")
    wheel = next(dist.glob("*.whl"))
    session.install(*packages, f"{wheel}[jobs]")

    copy = Path(session.create_tmp()) / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in BESIDE_THE_PACKAGE:
        source = here / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
    session.chdir(copy)
    session.run("python", "-m", "django", "--version")
    session.run("pytest", "-n", "auto", "--dist", "worksteal", *OF_THE_CHECKOUT, *session.posargs)
