"""What has become of an attempt to handle an update that came by webhook."""

from __future__ import annotations

from typing import Any

import pytest

from botsessions import session
from botsessions.database.claims import AlreadyHandled, Claim, ClaimedElsewhere
from botsessions.exceptions import SessionConflict, SessionDataError, SessionLockTimeout
from botsessions.ptb.delivery import Delivery
from botsessions.sources import FromKey
from botsessions.unit import Unit

from .harness import Store
from .limits import run

pytestmark = pytest.mark.once


def noted(error: Exception | None = None, *, cut_off: bool = False) -> Delivery:
    """Return the delivery once a unit has ended with an error."""
    claim = Claim("pizza", 7)
    unit = Unit(session(storage=Store()).fragments, "pizza", FromKey("42"))
    run(unit.enter())
    unit.error, unit.cut_off = error, cut_off
    delivery = Delivery(claim)
    delivery.note(unit)
    unit.close()
    return delivery


def test_what_has_gone_well_is_over() -> None:
    delivery = noted()
    assert not delivery.was_handled_before
    assert delivery.elsewhere is None
    assert not delivery.has_failed


def test_what_was_handled_before_has_not_failed() -> None:
    delivery = noted(AlreadyHandled())
    assert delivery.was_handled_before
    assert not delivery.has_failed


def test_what_another_process_handles_is_to_be_asked_for_again() -> None:
    delivery = noted(ClaimedElsewhere(Claim("pizza", 7), 2.5))
    assert delivery.elsewhere == 2.5
    assert not delivery.has_failed


@pytest.mark.parametrize(
    ("error", "cut_off", "has_failed"),
    [
        (OSError("gone"), False, True),
        (SessionLockTimeout("busy"), False, True),
        (None, True, True),
        (SessionDataError("does not fit"), False, False),
        (SessionConflict("changed"), False, False),
    ],
)
def test_telegram_delivers_again_what_no_handler_was_given(
    error: Any, cut_off: bool, has_failed: bool
) -> None:
    assert noted(error, cut_off=cut_off).has_failed is has_failed
