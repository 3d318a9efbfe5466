import logging

from django.apps import AppConfig


class DemoConfig(AppConfig):
    name = "project"

    def ready(self) -> None:
        logging.getLogger("django.server").addFilter(is_worth_reading)


def is_worth_reading(record: logging.LogRecord) -> bool:
    """Whether the server's log shall show a line: the chat page polls every other second."""
    return not record.getMessage().startswith('"GET /session/ HTTP/1.1" 200')
