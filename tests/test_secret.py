"""Tokens and webhooks' secrets show themselves nowhere."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import sys
from pprint import pformat
from typing import Any
from unittest import mock

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory, SimpleTestCase, override_settings
from django.views.debug import ExceptionReporter
from telegram.ext import Application

from botsessions.bots import Bot, all_bots, get_bot
from botsessions.conf import app_settings
from botsessions.exceptions import SessionStorageError
from botsessions.ptb import build_application
from botsessions.secret import Secret
from botsessions.storages import FreeStorage, free_server

from .sites import free_port
from .test_checks import pizza

pytestmark = pytest.mark.once

TOKEN, WEBHOOK = "123456:TOKEN-of-the-shop", "secret-of-the-webhook"


def build(builder: Any) -> Any:
    return builder.build()


SHOP = {"TOKEN": TOKEN, "WEBHOOK_SECRET": WEBHOOK, "SESSION": pizza, "APPLICATION": build}
SETTINGS = {"BOTS": {"shop": SHOP}}


@override_settings(BOTSESSIONS=SETTINGS, DEBUG=True)
class Bots(SimpleTestCase):
    def test_a_bot_does_not_show_its_secrets(self) -> None:
        for bot in (get_bot("shop"), Bot("shop", SHOP), all_bots(), app_settings()):
            for shown in (repr(bot), str(bot), f"{bot}", pformat(bot), f"{[bot]}"):
                self.assert_hidden(shown)
                assert "<secret>" in shown

    def test_logs_do_not_show_them(self) -> None:
        with self.assertLogs("shop") as logs:
            bot = get_bot("shop")
            logging.getLogger("shop").info("%s has %s", bot, bot.token)
        self.assert_hidden(logs.output[0])

    def test_a_debug_page_does_not_show_them(self) -> None:
        def view() -> None:
            bot, bots = get_bot("shop"), all_bots()
            token, application = bot.token, build_application(bot)
            raise ValueError(len(bots), token, application)

        for fail in (view, lambda: get_bot("other")):
            try:
                fail()
            except (ValueError, ImproperlyConfigured):
                reporter = ExceptionReporter(RequestFactory().get("/"), *sys.exc_info())
            self.assert_hidden(reporter.get_traceback_text())
            page = reporter.get_traceback_html()
            assert "fail" in page
            self.assert_hidden(page)

    def test_an_application_does_not_show_its_token(self) -> None:
        application = build_application(get_bot("shop"))
        assert application.bot.token == TOKEN
        assert "bot='shop'" in repr(application)
        self.assert_hidden(repr(application))

    def test_a_handlers_variables_do_not_show_it_to_an_error_tracker(self) -> None:
        application = build_application(get_bot("shop"))
        for variable in (application.bot, application.updater):
            assert "ExtBot[id=123456]" in repr(variable)
            self.assert_hidden(repr(variable))

    def test_a_storage_does_not_show_its_token(self) -> None:
        storage = FreeStorage(TOKEN)
        self.assert_hidden(f"{storage!r} {storage._account!r} {vars(storage)}")

    def test_a_debug_page_of_a_storage_that_cannot_be_reached_does_not_show_its_token(self) -> None:
        storage = FreeStorage(TOKEN, root_url=f"http://127.0.0.1:{free_port()}")
        with mock.patch.object(free_server, "PAUSES", ()):
            try:
                asyncio.run(storage.keys())
            except SessionStorageError:
                reporter = ExceptionReporter(RequestFactory().get("/"), *sys.exc_info())
        page = reporter.get_traceback_html()
        assert "it cannot be reached" in page
        self.assert_hidden(page)

    def assert_hidden(self, shown: str) -> None:
        for secret in (TOKEN.partition(":")[2], WEBHOOK):
            assert secret not in shown


def test_a_secret_equals_its_text_and_shows_itself_only_when_asked() -> None:
    secret = Secret(TOKEN)
    assert secret == TOKEN == secret.reveal()
    assert secret == TOKEN.encode()
    assert secret == Secret(TOKEN)
    assert secret != TOKEN + "x"
    assert secret != 7
    assert len({secret, Secret(TOKEN)}) == 1
    assert copy.deepcopy(secret) == pickle.loads(pickle.dumps(secret)) == TOKEN  # noqa: S301
    assert f"{secret} {secret!r} {secret!s}" == "<secret> <secret> <secret>"


def test_the_classes_of_python_telegram_bot_get_the_text_itself() -> None:
    bot = Bot("shop", SHOP)
    assert bot.token
    assert Application.builder().token(bot.token.reveal()).build().bot.token == TOKEN
