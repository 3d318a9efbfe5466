"""grammY's own storages, written by a grammY bot."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..free_storage.node import program, workplace

TIMEOUT = 60


def talk(
    kind: str,
    options: dict[str, Any],
    messages: Sequence[tuple[int, int, str]],
    env: dict[str, str] | None = None,
) -> None:
    """Let people talk to a grammY bot: each message has a chat, a user and a text.

    Args:
        kind: of storage: ``"file"``, ``"psql"`` or ``"free"``.
    """
    texts = [{"chat": chat, "user": user, "text": text} for chat, user, text in messages]
    told = json.dumps({"kind": kind, "options": options, "messages": texts})
    subprocess.run(  # noqa: S603
        [program("node"), str(workplace(Path(__file__).parent) / "bot.mjs"), told],
        env={**os.environ, **(env or {})},
        check=True,
        timeout=TIMEOUT,
    )
