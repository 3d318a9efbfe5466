"""How applications end, and why they could not go on."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from telegram.error import InvalidToken, NetworkError

from botsessions import MemoryStorage, session
from botsessions.bots import get_bot
from botsessions.ptb.lifecycle import end, reason

from .harness import client
from .limits import run

pytestmark = pytest.mark.once

TOKEN = "42:AAE-the-secret-part-of-a-token-0123456"


@override_settings(BOTSESSIONS={"BOTS": {"shop": {"TOKEN": TOKEN}}})
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InvalidToken(), "does not know the token in BOTSESSIONS['BOTS']['shop']['TOKEN']"),
        (ImproperlyConfigured("Set this."), "Set this."),
        (NetworkError("Timed out"), "NetworkError: Timed out"),
        (ValueError(f"of https://api.telegram.org/bot{TOKEN}/getMe"), "ValueError: of https"),
    ],
)
def test_people_are_told_why_and_no_token(error: Exception, told: str) -> None:
    found = reason(get_bot("shop"), error)
    assert told in found
    assert "secret-part" not in found


def ending(steps: list[str], *, started: bool, broken: str = "") -> Any:
    """Return an application of which each step of the end is noted."""

    def note(step: str) -> Any:
        async def hook(application: Any) -> None:
            steps.append(step)
            if step == broken:
                raise ValueError(step)

        return hook

    def builder(plain: Any) -> Any:
        return plain.post_stop(note("post_stop")).post_shutdown(note("post_shutdown"))

    async def confirm() -> None:
        steps.append("confirmed")

    async def main() -> Any:
        application = client(session(storage=MemoryStorage()), builder=builder).application
        await application.initialize()
        if started:
            await application.start()
        try:
            await end(application, when_stopped=confirm)
        finally:
            assert not application.running
        return application

    return main()


def test_it_ends_in_the_order_of_ptb() -> None:
    steps: list[str] = []
    run(ending(steps, started=True))
    assert steps == ["confirmed", "post_stop", "post_shutdown"]


def test_what_was_never_started_is_not_stopped() -> None:
    steps: list[str] = []
    run(ending(steps, started=False))
    assert steps == ["post_shutdown"]


def test_one_step_that_fails_keeps_no_other_from_being_done() -> None:
    steps: list[str] = []
    with pytest.raises(ValueError, match="post_stop"):
        run(ending(steps, started=True, broken="post_stop"))
    assert steps == ["confirmed", "post_stop", "post_shutdown"]
