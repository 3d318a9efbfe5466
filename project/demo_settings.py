"""Settings of the demo site: with further bots."""

from typing import Any

from project.settings import *  # noqa: F403
from project.settings import BOTSESSIONS

TABLES: Any = {"APPLICATION": "project.tables.build", "PERSISTENCE": True}

BOTSESSIONS = {
    "BOTS": {
        **BOTSESSIONS["BOTS"],
        "orders": {"SESSION": "project.orders.orders", "APPLICATION": "project.orders.build"},
        "club": {"SESSION": "project.club.club", "APPLICATION": "project.club.build"},
        "tables": TABLES,
    },
}
