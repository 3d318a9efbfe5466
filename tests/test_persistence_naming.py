"""What conversations are stored under, so that a restart, a worker and an edit find them again."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase
from telegram.ext import CommandHandler, ConversationHandler, MessageHandler, filters

from botsessions.persistence.naming import LONGEST, fragment_name
from botsessions.testing import AsyncBotClient

from .bots import dialogues
from .bots.dialogues import END, WORDS
from .harness import Store
from .test_persistence_conversations import with_store

pytestmark = pytest.mark.once


async def begin(update: Any, context: Any) -> int:
    return 0


async def other(update: Any, context: Any) -> int:
    return 0


async def a_function_whose_name_is_longer_than_a_fragments_may_be(u: Any, c: Any) -> int:
    return 0


class Begin:
    async def __call__(self, update: Any, context: Any) -> int:
        return 0

    async def method(self, update: Any, context: Any) -> int:
        return 0


def conversation(*callbacks: Any, **options: Any) -> ConversationHandler[Any]:
    entry_points: list[Any] = [CommandHandler("start", callback) for callback in callbacks]
    options = {"entry_points": entry_points, "states": {}, "fallbacks": [], **options}
    return ConversationHandler(**options)


def name(handler: ConversationHandler[Any], all_conversations: bool = True) -> str:
    return fragment_name(handler, all_conversations).removeprefix("ptb:conversation:")


HERE = "tests.test_persistence_naming"


class Names(SimpleTestCase):
    def test_f12_a_name_of_the_authors_own_is_taken(self) -> None:
        assert name(conversation(begin, name="ordering")) == "ordering"
        persistent = conversation(begin, name="ordering", persistent=True)
        assert name(persistent) == name(persistent, False) == "ordering"

    def test_f12_without_one_it_is_where_the_first_function_is(self) -> None:
        assert name(conversation(begin)) == f"{HERE}.begin"
        assert name(conversation(partial(partial(begin), context=None))) == f"{HERE}.begin"
        assert name(conversation(Begin().method)) == f"{HERE}.Begin.method"
        assert name(conversation(Begin())) == f"{HERE}.Begin"

    def test_f12_an_edit_of_all_else_does_not_change_it(self) -> None:
        edited = ConversationHandler(
            [MessageHandler(filters.Regex("^begin"), begin), CommandHandler("other", other)],
            {0: [MessageHandler(WORDS, other)]},
            [CommandHandler("cancel", dialogues.cancel)],
            allow_reentry=True,
            per_chat=False,
            map_to_parent={END: 1},
            conversation_timeout=60,
            block=False,
        )
        assert name(edited) == name(conversation(begin))

    def test_f12_an_inner_conversation_that_is_an_entry_point_does_not_count(self) -> None:
        inner = conversation(other)
        outer = conversation(entry_points=[inner, CommandHandler("start", begin)])
        assert name(outer) == f"{HERE}.begin"
        with pytest.raises(ImproperlyConfigured, match="without an entry point of its own"):
            name(conversation(entry_points=[inner]))

    def test_f12_a_long_one_is_shortened_so_that_it_stays_another_one(self) -> None:
        function = a_function_whose_name_is_longer_than_a_fragments_may_be
        short = name(conversation(function))
        assert len(short) == LONGEST
        assert short == "ef1c835c-name_is_longer_than_a_fragments_may_be"
        with pytest.raises(ImproperlyConfigured, match=f"may have {LONGEST} characters"):
            name(conversation(begin, name="n" * (LONGEST + 1)))

    def test_f12_two_of_one_name_are_refused(self) -> None:
        def build(builder: Any) -> Any:
            application = builder.build()
            application.add_handlers([conversation(begin), conversation(begin, other)])
            return application

        expected = f"Two conversations are named '{HERE}.begin', .* give each .* a name= of its own"
        with pytest.raises(ImproperlyConfigured, match=expected):
            AsyncBotClient(build=with_store(build, Store(), all_conversations=True))

    def test_f12_one_without_a_name_in_a_persistent_one_is_refused(self) -> None:
        def build(builder: Any) -> Any:
            application = builder.build()
            states = {0: [conversation(other)]}
            outer = conversation(begin, states=states, name="outer", persistent=True)
            application.add_handler(outer)
            return application

        with pytest.raises(ImproperlyConfigured, match=r"within a persistent one .*all_conversat"):
            AsyncBotClient(build=with_store(build, Store()))
        AsyncBotClient(build=with_store(build, Store(), all_conversations=True))
