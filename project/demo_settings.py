"""Settings of the demo site: with further bots."""

from project.settings import *  # noqa: F403
from project.settings import BOTSESSIONS

BOTSESSIONS = {
    "BOTS": {
        **BOTSESSIONS["BOTS"],
        "orders": {"SESSION": "project.orders.orders", "APPLICATION": "project.orders.build"},
        "club": {"SESSION": "project.club.club", "APPLICATION": "project.club.build"},
    },
}
