"""The demo site as it is where several processes serve a bot, under a strict policy."""

from project.demo_settings import *  # noqa: F403
from project.demo_settings import BOTSESSIONS, MIDDLEWARE

BOTS = BOTSESSIONS["BOTS"]
BOTSESSIONS = {**BOTSESSIONS, "BOTS": {**BOTS, "default": {**BOTS["default"], "LOCK": "database"}}}
MIDDLEWARE = [*MIDDLEWARE, "tests.strict_settings.with_policy"]
