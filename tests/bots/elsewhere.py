"""A process that edits sessions as it is told to: ``python -m tests.bots.elsewhere``.

Each line of JSON on its standard input is something to do, each line that it prints the result.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.utils.module_loading import import_string

from botsessions import enhance_storage, multi_session, session
from botsessions.keys import per_user


def counting() -> dict[str, Any]:
    return {"count": 0}


counter = session(initial=counting)
pair = multi_session(
    a=session(initial=counting), b=session(initial=counting, get_session_key=per_user)
)

told: list[str] = []
"""Keys of baskets that have expired."""
MOMENT = timedelta(seconds=2)


def tell(key: str, data: Any) -> None:
    told.append(key)


quiet = session(initial=counting, storage=enhance_storage(time_to_live=MOMENT))
heard = session(initial=counting, storage=enhance_storage(time_to_live=MOMENT, on_expire=tell))


class Editor:
    def __init__(self, declared: Any) -> None:
        self._declared = declared
        self._held = ExitStack()

    def do(self, do: str, **details: Any) -> Any:
        return getattr(self, do.replace(" ", "_"))(**details)

    def count(self, key: str, by: int, fragment: str) -> int:
        with self._session(fragment).edit(key) as data:
            data["count"] += by
            return int(data["count"])

    def hold(self, key: str, atomic: bool) -> None:
        from django.db import transaction  # noqa: PLC0415 (once Django is set up)

        if atomic:
            self._held.enter_context(transaction.atomic())
            with self._declared.edit(key) as data:
                data["count"] += 1
        else:
            data = self._held.enter_context(self._declared.edit(key))
            data["count"] += 1

    def let_go(self) -> None:
        self._held.close()

    def sweep(self, **options: Any) -> dict[str, Any]:
        """Return what a sweep has done, and of whom this process was told so far."""
        from botsessions.maintenance import Sweep, tables  # noqa: PLC0415 (once Django is set up)

        idle = options.get("idle_for")
        work = Sweep(idle_for=None if idle is None else timedelta(seconds=idle))
        batches = [batch for table in tables() for batch in work.run(*table)]
        return {
            "deleted": sum(batch.done for batch in batches),
            "busy": sum(batch.besides.get("busy", 0) for batch in batches),
            "failed": sum(len(batch.failures) for batch in batches),
            "told": import_string("tests.bots.elsewhere.told"),  # Of the module, not of the script.
        }

    def _session(self, fragment: str) -> Any:
        return getattr(self._declared, fragment) if fragment else self._declared


def main() -> None:
    config = json.loads(os.environ["ELSEWHERE"])
    bot = {
        "SESSION": config["declared"],
        "APPLICATION": "tests.bots.elsewhere.nothing",
        "LOCK": config["lock"],
    }
    settings.configure(
        DATABASES={"default": config["database"]},
        INSTALLED_APPS=["botsessions"],
        BOTSESSIONS={"BOTS": {config["bot"]: bot}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()
    editor = Editor(import_string(config["declared"]))
    say(result="ready")
    for line in sys.stdin:
        try:
            say(result=editor.do(**json.loads(line)))
        except Exception:
            say(error=traceback.format_exc())


def say(**words: Any) -> None:
    print(json.dumps(words), flush=True)  # noqa: T201


def nothing(builder: Any) -> Any:
    return builder.build()


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main()
