from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from .forking import close_connections_before_forks


class BotSessionsConfig(AppConfig):
    name = "botsessions"
    verbose_name = _("Bot sessions")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401, PLC0415 (registers them)
        from .incidents import listen  # noqa: PLC0415 (needs the models)

        listen()
        close_connections_before_forks()
