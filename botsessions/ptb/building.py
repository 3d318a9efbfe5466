"""What an author's function builds, while it does so: an application that others will run."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from telegram.ext import Application

building: ContextVar[str | None] = ContextVar("building", default=None)
"""The author's function that is building an application now, as messages call it."""


class BuiltApplication(Application[Any, Any, Any, Any, Any, Any]):
    """An application that knows its builder, and does not run while it is being built."""

    built_by: object = None

    if not TYPE_CHECKING:  # They take what PTB's own take.

        def run_polling(self, *args: Any, **kwargs: Any) -> None:
            """Poll Telegram, in a script; see PTB.

            Raises:
                ImproperlyConfigured: the function that builds a bot calls it.
            """
            refuse_to_run("run_polling()")
            super().run_polling(*args, **kwargs)

        def run_webhook(self, *args: Any, **kwargs: Any) -> None:
            """Serve PTB's own webhook, in a script; see PTB.

            Raises:
                ImproperlyConfigured: the function that builds a bot calls it.
            """
            refuse_to_run("run_webhook()")
            super().run_webhook(*args, **kwargs)


def refuse_to_run(method: str) -> None:
    function = building.get()
    if function is not None:
        raise ImproperlyConfigured(
            f"{function} calls {method} and would never return. Leave {method} out of it, and let "
            "it return the application: run_bot, a web server or a test runs that."
        )
