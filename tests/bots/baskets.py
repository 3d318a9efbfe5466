"""A bot that notes in a file which baskets have expired, one line each; then it may hang."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from botsessions import enhance_storage, session


def note(key: str, data: Any) -> None:
    told = Path(os.environ["TOLD"])
    with told.open("a") as file:
        file.write(json.dumps([key, data]) + "\n")
    if len(told.read_text().splitlines()) == int(os.environ.get("HANG_AT", "-1")):
        time.sleep(600)


baskets = session(
    initial=dict, storage=enhance_storage(time_to_live=timedelta(hours=1), on_expire=note)
)
