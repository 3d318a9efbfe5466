"""The functions that build bots: what they must not do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from telegram.ext import Application, ApplicationBuilder

from botsessions import MemoryStorage, SessionApplication, session
from botsessions.bots import Bot
from botsessions.ptb import build_application
from botsessions.ptb.builder import kept_fragments
from botsessions.testing import BotClient

pytestmark = pytest.mark.once

TOKEN = "6:o"
own = session(initial=dict, storage=MemoryStorage())
shop = Bot("shop", {"TOKEN": TOKEN, "SESSION": own, "LOCK": "database"})


def of_another_builder(builder: Any) -> Any:
    return own.install(ApplicationBuilder().token(TOKEN)).build()


def of_another_builder_for_the_bot(builder: Any) -> Any:
    other = ApplicationBuilder().token(TOKEN)
    return own.install(other, bot="shop", lock="database").build()


def without_a_session(builder: Any) -> Any:
    return ApplicationBuilder().token(TOKEN).build()


def polling(builder: Any) -> Any:
    builder.build().run_polling()


def polling_with_another_builder(builder: Any) -> Any:
    of_another_builder(builder).run_polling()


def serving(builder: Any) -> Any:
    builder.build().run_webhook()


def bot(function: Callable[[Any], Any]) -> Bot:
    return Bot("shop", {**shop.settings, "APPLICATION": function})


@pytest.mark.parametrize("build", [build_application, kept_fragments])
@pytest.mark.parametrize(
    "function", [of_another_builder, of_another_builder_for_the_bot, without_a_session]
)
def test_an_application_of_another_builder_is_refused(
    function: Callable[[Any], Any], build: Callable[[Bot], Any]
) -> None:
    says = r"APPLICATION of bot 'shop' returned.* of another builder.*use the builder that it is gi"
    with pytest.raises(ImproperlyConfigured, match=says):
        build(bot(function))


def test_a_test_client_refuses_it_too() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"build returned.*the builder that it is given"):
        BotClient(build=of_another_builder)
    with pytest.raises(ImproperlyConfigured, match=r"install\(\) one into the builder that"):
        BotClient(build=without_a_session)


def test_a_second_session_in_the_given_builder_is_refused_with_the_way_out() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"APPLICATION is given.*leave install\(\) out"):
        build_application(bot(own.install))


def test_a_builder_of_a_class_of_ones_own_is_known_as_well() -> None:
    class OwnBuilder(ApplicationBuilder[Any, Any, Any, Any, Any, Any]):
        __slots__ = ()

    builder = OwnBuilder().token(TOKEN)
    application = build_application(bot(lambda builder: builder.build()), builder)
    assert isinstance(application, SessionApplication)
    assert application.session_bot == "shop"


@pytest.mark.parametrize(
    ("function", "method"),
    [
        (polling, "run_polling"),
        (polling_with_another_builder, "run_polling"),
        (serving, "run_webhook"),
    ],
)
def test_an_application_that_is_being_built_does_not_run(
    function: Callable[[Any], Any], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Application, method, never)
    leave_out = rf"Leave {method}\(\) out of it"
    for build in (build_application, kept_fragments):
        with pytest.raises(ImproperlyConfigured, match=f"APPLICATION of bot 'shop'.*{leave_out}"):
            build(bot(function))
    if function is not polling_with_another_builder:
        function_of_test = function_with_session(function)
        with pytest.raises(ImproperlyConfigured, match=leave_out):
            BotClient(build=function_of_test)


def test_a_script_runs_its_application(monkeypatch: pytest.MonkeyPatch) -> None:
    for method in ("run_polling", "run_webhook"):
        monkeypatch.setattr(Application, method, never)
        with pytest.raises(AssertionError, match="It runs"):
            getattr(of_another_builder(None), method)()


def function_with_session(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda builder: function(own.install(builder))


def never(*args: object, **kwargs: object) -> None:
    raise AssertionError("It runs.")
