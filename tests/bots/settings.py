import json
import os

from project.settings import *  # noqa: F403

DEBUG = os.environ.get("DJANGO_DEBUG") == "1"
INSTALLED_APPS = ["botsessions"]
DATABASES["default"] |= json.loads(os.environ.get("DATABASE", "{}"))  # noqa: F405
MIDDLEWARE = []
ROOT_URLCONF = "tests.bots.urls"

BOTSESSIONS = {
    "BOTS": {
        alias: {"SESSION": "tests.bots.notes.notes", "APPLICATION": "tests.bots.notes.build", **bot}
        for alias, bot in json.loads(os.environ["BOTS"]).items()
    },
}

if seconds := os.environ.get("RETRY_SECONDS"):
    BOTSESSIONS["RETRY_SECONDS"] = float(seconds)

if log := os.environ.get("LOG"):
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"file": {"class": "logging.FileHandler", "filename": log}},
        "root": {"handlers": ["file"], "level": "DEBUG"},
    }
