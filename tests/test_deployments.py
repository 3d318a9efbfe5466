"""Code that knows more or fewer versions, deployed in any order over the same sessions."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from botsessions import enhance_storage, session
from botsessions.exceptions import SessionVersionError
from botsessions.maintenance import Migrate
from botsessions.models import BotSession

VERSIONS = [1, 1.5, 2, 10, 10.1]
ALL = len(VERSIONS)


def step(version: float) -> Any:
    def plain(old: Any) -> Any:
        return {**old, "steps": [*old["steps"], version]}

    async def awaited(old: Any) -> Any:
        return plain(old)

    return awaited if version == 2 else plain


class Deployed:
    """Code that knows the first so many versions."""

    def __init__(self, known: int) -> None:
        migrations = {version: step(version) for version in VERSIONS[:known]}
        storage = enhance_storage(migrations=migrations) if known else None
        self.session = session(initial=lambda: {"steps": [], "notes": []}, storage=storage)

    def note(self, number: int) -> bool:
        """Have the bot change the session; return whether it could."""
        with self.in_settings(), suppress(SessionVersionError), self.session.edit("42") as data:
            data["notes"].append(number)
            return True
        return False

    def migrate(self) -> None:
        with self.in_settings():
            list(Migrate().run(BotSession, "default"))

    def in_settings(self) -> Any:
        return override_settings(BOTSESSIONS={"BOTS": {"pets": {"SESSION": self.session}}})


DEPLOYMENTS = st.lists(
    st.tuples(st.integers(0, ALL), st.lists(st.sampled_from(["note", "migrate"]), max_size=3)),
    max_size=8,
)


class Deployments(TestCase):
    @given(first=st.integers(0, ALL), deployments=DEPLOYMENTS)
    @settings(max_examples=60)
    def test_any_order_and_subset_gives_the_same_data_and_loses_nothing(
        self, first: int, deployments: list[tuple[int, list[str]]]
    ) -> None:
        BotSession.objects.create(
            bot="pets",
            key="42",
            version=VERSIONS[first - 1] if first else None,
            data={"steps": VERSIONS[:first], "notes": []},
        )
        notes: list[int] = []
        for number, (known, actions) in enumerate(deployments):
            deployed = Deployed(known)
            for action in actions:
                if action == "migrate":
                    deployed.migrate()
                elif deployed.note(number):
                    notes.append(number)
        Deployed(ALL).migrate()
        row = BotSession.objects.get()
        assert row.data == {"steps": VERSIONS, "notes": notes}
        assert float(row.version or 0) == VERSIONS[-1]

    @given(known=st.integers(0, ALL - 1))
    @settings(max_examples=ALL)
    def test_d8_a_rollback_leaves_what_newer_code_has_written(self, known: int) -> None:
        Deployed(ALL).note(1)
        before = BotSession.objects.values().get()
        older = Deployed(known)
        assert not older.note(2)
        older.migrate()
        assert BotSession.objects.values().get() == before
        assert Deployed(ALL).note(3)
        assert BotSession.objects.get().data["notes"] == [1, 3]
