from project.settings import *  # noqa: F403

DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["botsessions"]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "benchmarks.site.urls"

BOTSESSIONS = {
    "BOTS": {
        "default": {
            "TOKEN": "1:OFFLINE",
            "WEBHOOK_SECRET": "between-Telegram-and-us",
            "SESSION": "benchmarks.site.bot.counted",
            "APPLICATION": "benchmarks.site.bot.build",
        },
    },
}
