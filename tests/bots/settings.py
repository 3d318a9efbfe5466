import json
import os

from project.settings import *  # noqa: F403

DEBUG = os.environ.get("DJANGO_DEBUG") == "1"
INSTALLED_APPS = ["botsessions"]
MIDDLEWARE = []
ROOT_URLCONF = "tests.bots.settings"
urlpatterns: list[object] = []

BOTSESSIONS = {
    "BOTS": {
        alias: {"SESSION": "tests.bots.notes.notes", "APPLICATION": "tests.bots.notes.build", **bot}
        for alias, bot in json.loads(os.environ["BOTS"]).items()
    },
}

if log := os.environ.get("LOG"):
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"file": {"class": "logging.FileHandler", "filename": log}},
        "root": {"handlers": ["file"], "level": "DEBUG"},
    }
