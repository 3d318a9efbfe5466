"""Keeping bot tokens out of logs.

python-telegram-bot logs its token at DEBUG, httpx logs URLs with it at INFO, and the texts of their
errors contain it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from django.conf import settings

from .bots import all_bots

HIDDEN = "[hidden]"
COLON = r"(?::|%(?:25)*3a)"
"""As it is or percent-encoded, perhaps more than once."""
SHORTEST_SECRET = 8
"""What is shorter in a setting is no token; hiding it could hide everything."""


class TokenFilter(logging.Filter):
    """Hides bot tokens in log records, and lets every record pass.

    Hidden is what looks like a token, and the tokens of the settings, in the message and its
    arguments, the traceback and the stack. The bot's id in front of the colon stays. A record whose
    traceback had to be changed keeps its text, but not the exception.
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
    those that are added later among them, and a filter of a logger not what its children log. What
    is logged as ``extra`` joins a record afterwards; only a handler's filter sees that.
    """
    plain = logging.getLogRecordFactory()
    tokens = TokenFilter()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = plain(*args, **kwargs)
        tokens.filter(record)
        return record

    logging.setLogRecordFactory(factory)
    try:
        yield
    finally:
        logging.setLogRecordFactory(plain)


def hide(text: str) -> str:
    """Return ``text`` without the secrets in bot tokens."""
    return pattern(tuple(secrets())).sub(rf"\g<id>{HIDDEN}", text)


@lru_cache(maxsize=8)
def pattern(known: tuple[str, ...]) -> re.Pattern[str]:
    ids = rf"(?<=/bot)\d+{COLON}(?=[^/])|\d{{5,}}{COLON}(?=[\w-]{{30}})|"
    followed_by = r"[^\s/?#&'\"`<>()\[\]{},;]+"
    return re.compile("x")


def secrets() -> Iterator[str]:
    """Return the secret parts of the tokens in the settings."""
