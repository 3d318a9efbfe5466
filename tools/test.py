"""Run the tests on SQLite and on every other database that answers here.

The arguments go to pytest. In CI (``CI=true``) every database has to answer. The servers are found
as their own clients find them: by the local socket, or ``PGHOST``, ``PGUSER`` and so on.
"""

import os
import subprocess
import sys

SETTINGS = {**os.environ, "DJANGO_SETTINGS_MODULE": "project.settings"}
ANSWERS = """
import django
django.setup()
from django.db import connection
with connection._nodb_cursor() as cursor:
    cursor.execute("SELECT 1")
"""


def main() -> None:
    failed = [] if run("sqlite", *sys.argv[1:]) else ["sqlite"]
    for database in ("postgresql", "mariadb"):
        problem = silence(database)
        if problem is None:
            if not run(database, "-m", "not once", *sys.argv[1:]):
                failed.append(database)
        elif os.environ.get("CI") == "true":
            failed.append(f"{database} (does not answer: {problem})")
        else:
            print(f"\nSKIPPED {database}, which does not answer: {problem}")
    if failed:
        sys.exit(f"Failed on {', '.join(failed)}.")


def run(database: str, *arguments: str) -> bool:
    """Run pytest on a database and return whether all tests passed."""
    print(f"\n==== Tests on {database} ====", flush=True)
    command = [sys.executable, "-m", "pytest", "-n", "auto", "--dist", "worksteal", *arguments]
    return subprocess.run(command, env=environment(database), check=False).returncode == 0  # noqa: S603


def silence(database: str) -> str | None:
    """Return why a database does not answer, ``None`` if it does."""
    command = [sys.executable, "-c", ANSWERS]
    result = subprocess.run(  # noqa: S603
        command, env=environment(database), check=False, capture_output=True, text=True
    )
    return None if result.returncode == 0 else result.stderr.strip().splitlines()[-1]


def environment(database: str) -> dict[str, str]:
    return {**SETTINGS, "BOTSESSIONS_DATABASE": database}


if __name__ == "__main__":
    main()
