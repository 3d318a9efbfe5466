"""A site that offers the free storage, in a process of its own."""

import json
import os

from project.settings import *  # noqa: F403

DEBUG = False
INSTALLED_APPS = ["botsessions"]
ROOT_URLCONF = "tests.free_storage.urls"
MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
BOTSESSIONS = {
    "BOTS": {
        alias: {"TOKEN": token, "FREE_STORAGE": True}
        for alias, token in json.loads(os.environ["TOKENS"]).items()
    },
}
