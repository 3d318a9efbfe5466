"""Where programs run: in this environment, or in one of their own, made when it is needed."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "benchmarks" / "programs"
PEERS = ROOT / ".peers"
REDIS = ("localhost", 6379)


class Missing(Exception):
    """Something cannot be measured here; the text says what there is not."""


def here(module: str) -> list[str]:
    """Return the command of a program in this environment."""
    return [sys.executable, "-m", f"benchmarks.programs.{module}"]


def aiogram() -> list[str]:
    """Return the command of the program with aiogram, in a virtual environment of its own.

    Raises:
        Missing: it cannot be installed, or Redis does not answer.
    """
    try:
        socket.create_connection(REDIS, timeout=1).close()
    except OSError as exc:
        raise Missing("Redis does not answer") from exc
    directory, requirements = PEERS / "aiogram", PROGRAMS / "aiogram-requirements.txt"
    python = directory / "bin" / "python"
    if is_new(directory, requirements):
        venv.create(directory, with_pip=True, clear=True)
        install([str(python), "-m", "pip", "install", "-q", "-r", str(requirements)], directory)
        made(directory, requirements)
    return [str(python), "-m", "benchmarks.programs.aiogram_redis"]


def grammy() -> list[str]:
    """Return the command of the program with grammY.

    Raises:
        Missing: there is no Node.js, or it cannot be installed.
    """
    return with_grammy("main.mjs")


def grammy_webhook(port: int, secret: str) -> list[str]:
    """Return the command of the program that serves grammY's webhook.

    Raises:
        Missing: there is no Node.js, or it cannot be installed.
    """
    return [*with_grammy("webhook.mjs"), str(port), secret]


def with_grammy(program: str) -> list[str]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Missing("Node.js with npm is not installed")
    directory, packages = PEERS / "grammy", PROGRAMS / "grammy" / "package.json"
    if is_new(directory, packages):
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(packages, directory)
        install([npm, "install", "--silent", "--no-audit", "--no-fund"], directory)
        made(directory, packages)
    # Node.js looks for packages beside the program.
    shutil.copy(PROGRAMS / "grammy" / program, directory)
    return [node, str(directory / program)]


def uvicorn(port: int, secret: str) -> list[str]:
    """Return the command that serves the site with the middleware.

    Raises:
        Missing: what uvicorn is fast with is not installed.
    """
    if not (importlib.util.find_spec("uvloop") and importlib.util.find_spec("httptools")):
        raise Missing("uvloop and httptools are not installed")
    quiet = ["--log-level", "warning", "--no-access-log"]
    application = "benchmarks.site.asgi:application"
    return [sys.executable, "-m", "uvicorn", "--port", str(port), *quiet, application]


def gunicorn(port: int, secret: str) -> list[str]:
    """Return the command that serves the site by Django's views, in threads."""
    options = ["--threads", "16", "--log-level", "warning", "--bind", f"127.0.0.1:{port}"]
    return [sys.executable, "-m", "gunicorn", *options, "benchmarks.site.wsgi:application"]


def versions_of(*names: str) -> dict[str, str]:
    """Return the versions of packages in this environment."""
    return {name: metadata.version(name) for name in names}


def versions_of_grammy() -> dict[str, str]:
    names = {"grammY": "grammy", "@grammyjs/storage-psql": "@grammyjs/storage-psql"}
    modules = PEERS / "grammy" / "node_modules"
    files = {name: modules / package / "package.json" for name, package in names.items()}
    return {name: json.loads(file.read_text())["version"] for name, file in files.items()}


def install(command: list[str], directory: Path) -> None:
    done = subprocess.run(  # noqa: S603
        command, cwd=directory, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise Missing(f"{directory.name} cannot be installed: {last}")


def is_new(directory: Path, requirements: Path) -> bool:
    """Whether what ``requirements`` names has not been installed yet."""
    note = directory / "installed"
    return not note.exists() or note.read_text() != requirements.read_text()


def made(directory: Path, requirements: Path) -> None:
    (directory / "installed").write_text(requirements.read_text())
