"""Tests stand beside the modules of the core by name, so that each says what it promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_docs import ROOT

pytestmark = pytest.mark.once

CORE = (".", "ptb", "storages", "database")
"""Packages, seen from botsessions/."""

NOTHING_TO_TEST = {"absent", "apps", "database/clock", "exceptions", "models", "signals", "urls"}
"""They declare things; what those do is done elsewhere."""

ELSEWHERE = {
    # What somebody does with them is what they promise.
    "downloads": "admin_operations",
    "due": "finding",
    "updates": "keys",  # The tables of all kinds of updates are there.
    # A process of its own talks to a server like Telegram's.
    "ptb/account": "webhook_commands",
    "ptb/polling": "run_bot",
    "ptb/webhook": "webhook_reception",
    "ptb/reaching": "telling",
    "ptb/scopes": "ptb_application",
    "ptb/stored_jobs": "jobs",
    "ptb/tasks": "ptb_application",
    "storages/free_server": "storages_free",
    # Two texts of SQL and what is done with them are one thing.
    "database/claims_table": "database_claims",
    "database/history_texts": "database_history",
    "database/leases_table": "database_leases",
    "database/leases_texts": "database_leases",
    "database/moving": "supergroups",
    "database/mysql_updates": "database_storage",
    "database/rights": "database_lease",
    "database/saving": "database_batch",
    "database/sessions_rows": "database_storage",
    "database/sessions_table": "database_storage",
    "database/sessions_texts": "database_storage",
    # Connections, and what becomes of them.
    "database/thread": "database_connections",
    "database/pipeline": "database_postgresql",
    "database/watch": "database_faults",
}
"""By module, the test file of another name, without ``test_``."""


def modules() -> list[str]:
    """Return the core's modules, like ``unit`` and ``ptb/context``."""
    files = [file for part in CORE for file in (ROOT / "botsessions" / part).glob("*.py")]
    found = [file.relative_to(ROOT / "botsessions").with_suffix("") for file in files]
    return sorted(module.as_posix() for module in found if module.name != "__init__")


@pytest.mark.parametrize("module", [m for m in modules() if m not in NOTHING_TO_TEST])
def test_a_module_has_a_test_file_of_its_name(module: str) -> None:
    file = file_of(ELSEWHERE.get(module, module))
    assert file.is_file(), f"Write {file.name}, or say in ELSEWHERE where {module} is tested."


def test_exceptions_are_modules_that_have_none() -> None:
    exceptions = {*NOTHING_TO_TEST, *ELSEWHERE}
    assert exceptions <= {*modules()}
    assert [module for module in exceptions if file_of(module).exists()] == []


def file_of(module: str) -> Path:
    return ROOT / "tests" / f"test_{module.replace('/', '_')}.py"
