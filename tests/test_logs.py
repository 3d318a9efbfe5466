"""Bot tokens in log records."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.test import override_settings

from botsessions.logs import TokenFilter, hide, tokens_hidden

pytestmark = pytest.mark.once

SECRET = "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
TOKEN = f"4711001:{SECRET}"
HIDDEN = "4711001:[hidden]"


class Broken:
    def __str__(self) -> str:
        raise ValueError(f"no text for {TOKEN}")


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a logger writes while tokens are hidden in the process."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    with tokens_hidden():
        yield stream
    logger.removeHandler(handler)


logger = logging.getLogger("tests.logs")
logger.propagate = False


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (TOKEN, HIDDEN),
        (f"The token `{TOKEN}` was rejected", f"The token `{HIDDEN}` was rejected"),
        (f"https://x/bot{TOKEN}/getMe", f"https://x/bot{HIDDEN}/getMe"),
        (f"/file/bot4711001%3A{SECRET}/a", "/file/bot4711001%3A[hidden]/a"),
        (f"u=%2Fbot4711001%253a{SECRET}%2FgetMe", "u=%2Fbot4711001%253a[hidden]%2FgetMe"),
        ("/bot1:OFFLINE/getMe", "/bot1:[hidden]/getMe"),
        ("b'POST /bot1:short' and more", "b'POST /bot1:[hidden]' and more"),
        ("12:34:56 chat 4711001:5", "12:34:56 chat 4711001:5"),
    ],
)
def test_what_looks_like_a_token_is_hidden(text: str, hidden: str) -> None:
    assert hide(text) == hidden
    assert hide(hidden) == hidden


@override_settings(BOTSESSIONS={"BOTS": {"shop": {"TOKEN": "4711:no usual token"}, "off": {}}})
def test_tokens_of_the_settings_are_hidden_whatever_they_look_like() -> None:
    assert hide("4711:no usual token, 'no usual token'") == "4711:[hidden], '[hidden]'"


@override_settings(BOTSESSIONS={"BOTS": {"shop": {"TOKEN": "1:a"}, "none": {"TOKEN": None}}})
def test_a_setting_too_short_to_be_a_token_hides_nothing() -> None:
    assert hide("a banana, None") == "a banana, None"


@pytest.mark.parametrize(
    ("message", "args"),
    [
        (f"with {TOKEN}", ()),
        ("with %s", (TOKEN,)),
        ("with %(token)s", ({"token": TOKEN},)),
        ("with %r", ([TOKEN],)),
        ("with %s", (httpx.URL(f"https://x/bot{TOKEN}/getMe"),)),
        ("with %s", (ValueError(TOKEN),)),
        ("with %s:%s", ("4711001", SECRET)),
        ("with %s", (TOKEN.encode(),)),
        (ValueError(TOKEN), ()),
    ],
)
def test_messages_and_their_arguments_are_freed_of_tokens(
    message: Any, args: tuple[Any, ...], written: io.StringIO
) -> None:
    logger.error(message, *args)
    assert SECRET not in written.getvalue()
    assert HIDDEN in written.getvalue()


def test_other_messages_stay_as_they_are(written: io.StringIO) -> None:
    logger.error("%d %s", 5, ["x"])
    assert written.getvalue() == "5 ['x']\n"


def test_tracebacks_and_stacks_are_freed_of_tokens(written: io.StringIO) -> None:
    try:
        try:
            raise KeyError(TOKEN)
        except KeyError as exc:
            raise ValueError(f"It was {TOKEN}") from exc
    except ValueError:
        logger.exception("It failed", stack_info=True)
    text = written.getvalue()
    assert SECRET not in text
    assert f"KeyError: '{HIDDEN}'" in text
    assert f"ValueError: It was {HIDDEN}" in text
    assert "Stack (most recent call last)" in text


def test_exceptions_without_tokens_stay_in_their_records() -> None:
    record = logging.makeLogRecord({"exc_info": (ValueError, ValueError("x"), None)})
    TokenFilter().filter(record)
    assert record.exc_info is not None
    assert record.exc_text is None


def test_a_text_that_another_handler_has_made_of_the_exception_is_freed_too() -> None:
    error = ValueError(TOKEN)
    record = logging.makeLogRecord({"exc_info": (ValueError, error, None)})
    logging.Formatter().format(record)
    assert TokenFilter().filter(record)
    assert record.exc_text == f"ValueError: {HIDDEN}"
    assert record.exc_info is None


@pytest.mark.parametrize("args", [(TOKEN, TOKEN), (Broken(),), ([TOKEN], 1)])
def test_what_logging_says_of_a_record_it_cannot_format_shows_no_token(
    args: tuple[object, ...], written: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.error(f"%s {TOKEN}" if len(args) == 2 else "%s", *args)
    assert SECRET not in written.getvalue() + capsys.readouterr().err


def test_handlers_that_are_added_later_get_no_token(written: io.StringIO) -> None:
    stream = io.StringIO()
    later = logging.StreamHandler(stream)
    logger.addHandler(later)
    logger.error(TOKEN)
    logger.removeHandler(later)
    assert stream.getvalue() == f"{HIDDEN}\n"


def test_afterwards_records_are_made_as_before() -> None:
    before = logging.getLogRecordFactory()
    with tokens_hidden():
        assert logging.getLogRecordFactory() is not before
    assert logging.getLogRecordFactory() is before


def test_tokens_stay_hidden_when_somebody_who_began_to_hide_them_before_ends() -> None:
    plain = logging.getLogRecordFactory()
    first, second = tokens_hidden(), tokens_hidden()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    record = logging.getLogRecordFactory()("x", logging.INFO, "x", 1, TOKEN, (), None)
    assert record.getMessage() == HIDDEN
    second.__exit__(None, None, None)
    record = logging.getLogRecordFactory()("x", logging.INFO, "x", 1, TOKEN, (), None)
    assert record.getMessage() == TOKEN
    logging.setLogRecordFactory(plain)
