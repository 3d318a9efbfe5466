"""A process that edits sessions as it is told to: ``python -m tests.bots.elsewhere``.

Each line of JSON on its standard input is something to do, each line that it prints the result.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.utils.module_loading import import_string

from botsessions import multi_session, session
from botsessions.keys import per_user


def counting() -> dict[str, Any]:
    return {"count": 0}


counter = session(initial=counting)
pair = multi_session(
    a=session(initial=counting), b=session(initial=counting, get_session_key=per_user)
)


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
