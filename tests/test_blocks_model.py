"""Blocks of a handler that raise or do not, in any order and depth: a model says what is saved."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botsessions import lazy_session, session

from .harness import Store, text
from .limits import run
from .locked import BOT, bot_running, new_chat

pytestmark = pytest.mark.once

UNSEEN = "unseen"


class Act(NamedTuple):
    """Something that a handler does, with a number to tell it from others."""

    what: str
    number: int = 0


class Block(NamedTuple):
    """Acts in a block that raises in the end, or does not."""

    kind: str
    raises: bool
    acts: list[Any]


ACTS = ("read", "change", "change", "assign", "promise", "promise", "delete", "adelete", "save")
KINDS = ("edit_session", "aedit", "update")

acts = st.recursive(
    st.lists(st.builds(Act, st.sampled_from(ACTS), st.integers(0, 99)), max_size=4),
    lambda inside: st.lists(
        st.builds(Act, st.sampled_from(ACTS), st.integers(0, 99))
        | st.builds(Block, st.sampled_from(KINDS), st.booleans(), inside),
        max_size=4,
    ),
    max_leaves=12,
)


def initial() -> dict[str, int]:
    return {"initial": 1}


class Model:
    """What a session is to be: the data that handlers see, and what is stored."""

    def __init__(self, stored: Any, *, lazy: bool) -> None:
        self.stored = stored
        self._data: Any = UNSEEN
        self._is_known = not lazy
        self._saves = 0

    def do(self, acts: list[Any]) -> None:
        for act in acts:
            if isinstance(act, Block):
                self._enter(act)
            elif act.what == "read":
                self._see()
            elif act.what == "change":
                self._data = {**(self._see() or {}), "changed": act.number}
            elif act.what == "save":
                self.save()
            else:
                self._data = None if "delete" in act.what else {"assigned": act.number}

    def save(self) -> None:
        """Store what was seen; what is deleted unseen is deleted whether or not it is there."""
        is_new = self._data != self.stored or (self._data is None and not self._is_known)
        if self._data != UNSEEN and is_new:
            self._saves += 1
            self._is_known = True
            self.stored = self._data

    def _see(self) -> Any:
        if self._data == UNSEEN:
            self._is_known = True
            self._data = initial() if self.stored is None else self.stored
        return self._data

    def _enter(self, block: Block) -> None:
        before, saves = self._data, self._saves
        if block.kind != "update":
            self._see()
        self.do(block.acts)
        if block.raises:
            self._data = before if self._saves == saves else self.stored


class Bot:
    """A bot whose handler does what it is told to."""

    def __init__(self, declared: Any, *, lazy: bool) -> None:
        self._declared = declared
        self._is_lazy = lazy
        self._acts: dict[int, list[Any]] = {}
        self._numbers = itertools.count(1)
        self.errors: list[BaseException] = []

    async def run(self, stored: Any, acts: list[Any]) -> None:
        chat = new_chat()
        async with bot_running(
            "process", self._declared, self._handle, errors=self._note
        ) as self._client:
            if stored is not None:
                async with self._declared.aedit(str(chat), bot=BOT) as data:
                    data.clear()
                    data.update(stored)
            await self._process(chat, [*acts])

    async def _process(self, chat: int, acts: list[Any]) -> None:
        number = next(self._numbers)
        self._acts[number] = acts
        await self._client.application.process_update(text(self._client.user(id=chat), number))

    async def _handle(self, update: Any, context: Any) -> None:
        chat = update.effective_chat.id
        for act in self._acts.pop(update.update_id):
            if act is ZeroDivisionError:
                raise ZeroDivisionError
            await (self._enter if isinstance(act, Block) else self._act)(act, context, chat)

    async def _act(self, act: Act, context: Any, chat: int) -> None:
        if act.what in ("read", "change"):
            data = await context.get_session()
            if act.what == "read":
                return
            if data is None:
                context.session = {"changed": act.number}
            else:
                data["changed"] = act.number
        elif act.what == "save":
            await context.save_session()
        elif act.what == "adelete":
            await self._declared.adelete(chat=chat, bot=BOT)
        elif act.what == "delete":
            del context.session
        elif act.what == "promise" and self._is_lazy:
            context.session = promised({"assigned": act.number})
        else:
            context.session = {"assigned": act.number}

    async def _enter(self, block: Block, context: Any, chat: int) -> None:
        if block.kind == "update":
            acts = [*block.acts, *([ZeroDivisionError] if block.raises else [])]
            await self._process(chat, acts)
            return
        editing = (
            context.edit_session()
            if block.kind == "edit_session"
            else self._declared.aedit(chat=chat, bot=BOT)
        )
        with suppress(ZeroDivisionError):
            async with editing:
                for act in block.acts:
                    await (self._enter if isinstance(act, Block) else self._act)(act, context, chat)
                if block.raises:
                    raise ZeroDivisionError

    async def _note(self, update: Any, context: Any) -> None:
        if not isinstance(context.error, ZeroDivisionError):
            self.errors.append(context.error)


async def promised(data: Any) -> Any:
    await asyncio.sleep(0)
    return data


@pytest.mark.parametrize("declare", [session, lazy_session])
@settings(max_examples=150, deadline=None)
@given(stored=st.none() | st.just({"stored": 1}), acts=acts)
def test_what_is_saved_is_what_the_blocks_that_did_not_raise_have_made(
    declare: Callable[..., Any], stored: Any, acts: list[Any]
) -> None:
    lazy = declare is lazy_session
    store, model = Store(bot=BOT), Model(deepcopy(stored), lazy=lazy)
    bot = Bot(declare(initial=initial, storage=store), lazy=lazy)
    run(bot.run(stored, acts))
    model.do(acts)
    model.save()
    assert bot.errors == []
    assert next(iter(store.values.values()), None) == model.stored
