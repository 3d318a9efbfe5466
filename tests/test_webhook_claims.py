"""Claims on updates: who handles one, once; and what that costs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from botsessions.database.connections import close_databases
from botsessions.models import HandledUpdate
from botsessions.webhook import claims
from botsessions.webhook.claims import Claim, Claims, State, claim_all, look_at, note_handled, renew

USING = "default"
pytestmark = pytest.mark.django_db(transaction=True)


def statements(function: Any, *arguments: Any) -> tuple[Any, list[str]]:
    """Return what a function returns, and the first words of its statements."""
    with CaptureQueriesContext(connection) as captured:
        result = function(*arguments)
    return result, [query["sql"].split()[0] for query in captured.captured_queries]


def lapse() -> None:
    HandledUpdate.objects.update(claimed_until=Now() - timedelta(seconds=1))


def test_an_update_costs_one_statement_before_and_one_after_its_handlers() -> None:
    claim = Claim("notes", 1001)
    assert statements(claim_all, USING, [claim]) == ([State.CLAIMED], ["INSERT"])
    assert statements(note_handled, USING, [claim]) == ([None], ["UPDATE"])


def test_what_waits_at_the_same_moment_shares_them() -> None:
    many = [Claim(bot, number) for bot in ("notes", "other") for number in range(1001, 1051)]
    states, words = statements(claim_all, USING, many)
    assert set(states) == {State.CLAIMED}
    assert [word for word in words if word not in ("BEGIN", "COMMIT")] == ["INSERT"]
    assert statements(note_handled, USING, many)[1] == ["UPDATE"]
    assert HandledUpdate.objects.exclude(handled_at=None).count() == 100


def test_only_one_of_two_gets_an_update_and_afterwards_nobody() -> None:
    first, second = Claim("notes", 1001), Claim("notes", 1001)
    assert claim_all(USING, [first]) == [State.CLAIMED]
    assert claim_all(USING, [second]) == [State.CLAIMED_BY_ANOTHER]
    note_handled(USING, [first])
    assert claim_all(USING, [second]) == [State.HANDLED]
    lapse()
    assert claim_all(USING, [second]) == [State.HANDLED]


def test_one_duplicate_among_many_does_not_stop_the_others() -> None:
    claim_all(USING, [Claim("notes", 1002)])
    states = claim_all(USING, [Claim("notes", number) for number in (1001, 1002, 1003)])
    assert states == [State.CLAIMED, State.CLAIMED_BY_ANOTHER, State.CLAIMED]


def test_the_same_update_id_of_another_bot_is_another_update() -> None:
    assert claim_all(USING, [Claim("notes", 1001), Claim("Notes", 1001)]) == [State.CLAIMED] * 2


def test_a_claim_that_has_lapsed_is_taken_over_once_and_its_first_holder_cannot_note() -> None:
    dead, second, third = (Claim("notes", 1001) for _ in range(3))
    claim_all(USING, [dead])
    lapse()
    assert claim_all(USING, [second]) == [State.CLAIMED]
    assert claim_all(USING, [third]) == [State.CLAIMED_BY_ANOTHER]
    note_handled(USING, [dead])
    assert HandledUpdate.objects.get().handled_at is None


def test_a_claim_whose_answer_was_lost_is_still_a_claim() -> None:
    claim = Claim("notes", 1001)
    claim_all(USING, [claim])
    assert claim_all(USING, [claim]) == [State.CLAIMED]


def test_a_claim_that_is_renewed_does_not_lapse() -> None:
    kept, lost = Claim("notes", 1001), Claim("notes", 1002)
    claim_all(USING, [kept, lost])
    lapse()
    assert look_at(Claim("notes", 1002), USING) is State.CLAIMED
    renewed, words = statements(renew, [kept, lost], USING)
    assert renewed == {kept}
    assert words == ["UPDATE", "SELECT"]
    assert look_at(Claim("notes", 1001), USING) is State.CLAIMED_BY_ANOTHER


def test_a_process_renews_what_it_handles_for_long_until_it_is_handled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claims, "CLAIM_SECONDS", 0.6)
    monkeypatch.setattr(claims, "RENEWAL_SECONDS", 0.2)

    async def handle() -> None:
        process, other = Claims(), Claims()
        claim = await process.claim("notes", 1001)
        assert claim is not None
        for _ in range(5):
            await asyncio.sleep(0.25)
            await process.renew()
            assert process.holds(claim)
            assert await other.take_over(Claim("notes", 1001)) is State.CLAIMED_BY_ANOTHER
        waiting = asyncio.create_task(other.claim("notes", 1001))
        await asyncio.sleep(0.1)
        await process.note_handled(claim)
        assert await waiting is None
        assert not process.holds(claim)

    asyncio.run(handle())
    close_databases()


def test_a_delivery_waits_for_the_claim_of_a_dead_process_to_lapse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claims, "CLAIM_SECONDS", 0.3)

    async def handle() -> None:
        assert await Claims().claim("notes", 1001)
        assert await Claims().claim("notes", 1001)

    asyncio.run(handle())
    close_databases()


def test_a_delivery_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "PATIENCE_SECONDS", 0.1)

    async def handle() -> None:
        assert await Claims().claim("notes", 1001)
        with pytest.raises(TimeoutError, match="still handling update 1001"):
            await Claims().claim("notes", 1001)

    asyncio.run(handle())
    close_databases()
