"""Turning pages by the places of sessions: nothing is counted, and nothing skipped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from typing import Any

import pytest

from botsessions.finding import of_bot
from botsessions.models import BotSession
from botsessions.paging import BY_BOT, Take, among, in_order, page, walk, walk_by_expiry

from .sessions import make

pytestmark = pytest.mark.django_db

SIZE = 3
MOMENTS = [datetime(2100 + year, 1, 1, tzinfo=timezone.utc) for year in range(2)]


def turned(take: Take) -> tuple[list[list[Any]], list[list[Any]]]:
    """Turn all pages to the end and back; return the pages of each way."""
    there, back = [], []
    places, before, after = page(take, False, None, SIZE)
    assert not before
    while True:
        there.append(places)
        if not after:
            break
        places, before, after = page(take, False, places[-1], SIZE)
        assert before
    while True:
        back.append(places)
        if not before:
            return there, back
        places, before, after = page(take, True, places[0], SIZE)
        assert after


def by_key() -> tuple[Take, list[Any]]:
    keys = [make(number).pk for number in range(8)]
    return partial(walk, BotSession.objects.all()), keys[::-1]


def by_key_of_one_bot() -> tuple[Take, list[Any]]:
    keys = [make(number, bot=bot).pk for number in range(8) for bot in ("a", "b", "B", "c")]
    return partial(walk, of_bot(BotSession.objects.all(), "b"), order=BY_BOT), keys[1::4][::-1]


def by_expiry() -> tuple[Take, list[Any]]:
    made = [make(number, expires_at=MOMENTS[number % 2]) for number in range(8)]
    places = sorted(((session.expires_at, session.pk) for session in made), reverse=True)
    return partial(walk_by_expiry, BotSession.objects.all()), places


def of_some() -> tuple[Take, list[Any]]:
    return partial(among, [5, 1, 8, 3, 2, 7, 9, 4]), [9, 8, 7, 5, 4, 3, 2, 1]


def of_some_in_their_order() -> tuple[Take, list[Any]]:
    keys = [5, 1, 8, 3, 2, 7, 9, 4]
    return partial(in_order, keys), keys


@pytest.mark.parametrize(
    "make_pages", [by_key, by_key_of_one_bot, by_expiry, of_some, of_some_in_their_order]
)
def test_each_place_is_on_one_page_there_and_back(
    make_pages: Callable[[], tuple[Take, list[Any]]],
) -> None:
    take, places = make_pages()
    there, back = turned(take)
    assert [len(some) for some in there] == [3, 3, 2]
    assert [place for some in there for place in some] == places
    # The way back begins at the last page's first place.
    assert [len(some) for some in back] == [2, 3, 3]
    assert [place for some in reversed(back) for place in some] == places


@pytest.mark.parametrize("take", [partial(among, []), partial(in_order, [])])
def test_without_any_places_there_is_one_empty_page(take: Take) -> None:
    assert page(take, False, None, SIZE) == ([], False, False)


def test_what_was_deleted_meanwhile_leads_nowhere_wrong() -> None:
    take, (newest, *others) = by_key()
    BotSession.objects.filter(pk=others[1]).delete()
    assert page(take, False, others[1], SIZE)[0] == others[2:5]
    assert page(take, True, others[1], SIZE)[0] == [newest, others[0]]
