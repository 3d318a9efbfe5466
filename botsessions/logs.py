"""Keeping bot tokens out of logs.

python-telegram-bot logs its token at DEBUG, httpx logs URLs with it at INFO, and the texts of their
errors contain it.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeAlias

from django.conf import settings

from .bots import all_bots
from .conf import metrics_token

Arguments: TypeAlias = "tuple[object, ...] | Mapping[str, object] | None"

HIDDEN = "[hidden]"
COLON = r"(?::|%(?:25)*3a)"
"""As it is or percent-encoded, perhaps more than once."""
SHORTEST_SECRET = 8
"""What is shorter in a setting is no token; hiding it could hide everything."""


class TokenFilter(logging.Filter):
    """Hides bot tokens in log records, and lets every record pass.

    Hidden is what looks like a token, and the tokens of the settings and the secrets of their
    webhooks, in the message and its arguments, the traceback and the stack. The bot's id in front
    of the colon stays. A record whose traceback had to be changed keeps its text, but not the
    exception. What is logged as ``extra`` is not looked at.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Hide the tokens in ``record``."""
        hide_in_message(record)
        hide_in_traceback(record)
        return True


@contextmanager
def tokens_hidden() -> Iterator[None]:
    """Hide bot tokens in all log records of this process.

    It is done where records are made: a filter of a handler does not see what other handlers get,
    those that are added later among them, and a filter of a logger not what its children log.
    """
    tokens, goes_on = TokenFilter(), True

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = plain(*args, **kwargs)
        if goes_on:
            tokens.filter(record)
        return record

    with _changing:
        plain = logging.getLogRecordFactory()
        logging.setLogRecordFactory(factory)
    try:
        yield
    finally:
        with _changing:
            goes_on = False
            if logging.getLogRecordFactory() is factory:  # Not where others hide them, too.
                logging.setLogRecordFactory(plain)


_changing = threading.Lock()


def hide(text: str) -> str:
    """Return ``text`` without the secret parts of bot tokens."""
    return pattern(tuple(secrets())).sub(shortened, text)


@lru_cache(maxsize=8)
def pattern(known: tuple[str, ...]) -> re.Pattern[str]:
    in_a_url = rf"(/bot\d+{COLON})[^/?#\s'\"]+"
    anywhere = rf"(\d{{5,}}{COLON})[\w-]{{30,}}"
    return re.compile("|".join([in_a_url, anywhere, *map(re.escape, known)]), re.ASCII | re.I)


def shortened(token: re.Match[str]) -> str:
    return f"{token[1] or token[2] or ''}{HIDDEN}"


def secrets() -> Iterator[str]:
    if not settings.configured:
        return
    of_bots = [secret for bot in all_bots().values() for secret in (bot.token, bot.webhook_secret)]
    for secret in filter(None, [*of_bots, metrics_token()]):
        text = secret.reveal().rpartition(":")[2]
        if len(text) >= SHORTEST_SECRET:
            yield text


def hide_in_message(record: logging.LogRecord) -> None:
    record.args = hide_in_arguments(record.args)
    try:
        message = record.getMessage()
    except Exception:  # Whoever handles the record reports that, and shows both.
        record.msg, record.args = hide(str(record.msg)), (hide(repr(record.args)),)
        return
    hidden = hide(message)
    if hidden != message:  # It stands in an object, or was put together.
        record.msg, record.args = hidden, None


def hide_in_arguments(args: Arguments) -> Arguments:
    if isinstance(args, Mapping):
        return {name: hide_if_text(value) for name, value in args.items()}
    return args and tuple(map(hide_if_text, args))


def hide_if_text(value: object) -> object:
    return hide(value) if isinstance(value, str) else value


def hide_in_traceback(record: logging.LogRecord) -> None:
    if record.stack_info:
        record.stack_info = hide(record.stack_info)
    if record.exc_text:
        record.exc_text = hide(record.exc_text)
    if not record.exc_info or record.exc_info[0] is None:
        return
    text = logging.Formatter().formatException(record.exc_info)
    hidden = hide(text)
    if hidden != text:
        record.exc_text, record.exc_info = hidden, None
