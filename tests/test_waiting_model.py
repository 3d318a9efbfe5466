"""The queues of keys against a model, driven by Hypothesis.

Views in threads, tasks, updates that need two keys and event loops that close come, wait, go and
are cancelled in any order. There never are two holders of one key, everybody is served in the order
of the requests, and whoever is next has the key soon.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context, ContextVar
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from botsessions import MemoryStorage, multi_session, session

from .harness import text
from .limits import in_thread, within
from .locked import BOT, bot_with, both_locks, counting, is_free, new_chat

SOON_SECONDS = 20.0
"""Whoever is next has the key within so long."""
ASKED_SECONDS = 0.02
"""So long after its key became known somebody stands in the queue."""
STEPS = 25

asking: ContextVar[Actor | None] = ContextVar("asking", default=None)


def key_of(name: str) -> Callable[..., Any]:
    """Return a key function that notes who asks; the key is a word of the message, or an id."""

    def key(update: Any = None, *, word: str | None = None) -> str | None:
        if update is not None:
            word = update.message.text.split()["ab".index(name)]
        if (actor := asking.get()) is not None:
            actor.asked.set()
        return word

    return key


class Actor:
    """Somebody who wants keys, keeps them until it may leave, and ends."""

    def __init__(self, name: str, keys: Sequence[tuple[str, str]]) -> None:
        self.name = name
        self.keys = keys
        self.asked = threading.Event()
        self.may_leave = threading.Event()
        self.task: asyncio.Task[Any] | None = None
        """What can be cancelled."""
        self.ended: Future[Any] = Future()

    def __repr__(self) -> str:
        return self.name


class Bots:
    """An event loop in a thread, with a bot on it."""

    def __init__(self, lock: str, storage: Any) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        part = {
            name: session(initial=counting, get_session_key=key_of(name), storage=storage)
            for name in "ab"
        }
        self.declared = multi_session(**part)
        self.visiting: Any = None
        self.bot = bot_with(lock, self.declared, self._handle)
        self.call(self._start())

    async def _start(self) -> None:
        await self.bot.application.initialize()
        await self.bot.application.start()

    async def _handle(self, update: Any, context: Any) -> None:
        await self.visiting(asking.get())

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def close(self) -> None:
        with suppress(Exception):
            self.call(asyncio.wait_for(self.bot.aclose(), 3))
        self.loop.call_soon_threadsafe(self.loop.stop)


class Queues(RuleBasedStateMachine):
    bots: Bots

    def __init__(self) -> None:
        super().__init__()
        number = new_chat()
        self.queues: dict[tuple[str, str], list[Actor]] = {
            (name, f"{name}{number}"): [] for name in "ab"
        }
        self.inside: dict[tuple[str, str], list[Actor]] = {key: [] for key in self.queues}
        self.collisions: list[str] = []
        self.actors: list[Actor] = []
        self.abandoned: list[Any] = []
        self._mutex = threading.Lock()
        self.bots.visiting = self.visit

    # What actors do.

    def enter(self, actor: Actor) -> None:
        with self._mutex:
            for key in actor.keys:
                self.inside[key].append(actor)
                if len(self.inside[key]) > 1:
                    self.collisions.append(f"{self.inside[key]} have {key}")

    def leave(self, actor: Actor) -> None:
        with self._mutex:
            for key in actor.keys:
                self.inside[key].remove(actor)

    async def visit(self, actor: Actor) -> None:
        self.enter(actor)
        try:
            while not actor.may_leave.is_set():  # noqa: ASYNC110 (by another thread)
                await asyncio.sleep(0.001)
        finally:
            self.leave(actor)

    def fragment(self, actor: Actor) -> Any:
        ((name, _),) = actor.keys
        return getattr(self.bots.declared, name)

    def view(self, actor: Actor) -> None:
        asking.set(actor)
        with self.fragment(actor).edit(word=actor.keys[0][1], bot=BOT) as data:
            data["count"] += 1
            self.enter(actor)
            try:
                assert actor.may_leave.wait(30)
            finally:
                self.leave(actor)

    async def edit(self, actor: Actor) -> None:
        asking.set(actor)
        async with self.fragment(actor).aedit(word=actor.keys[0][1], bot=BOT) as data:
            data["count"] += 1
            await self.visit(actor)

    async def update(self, actor: Actor) -> None:
        asking.set(actor)
        words = " ".join(word for _, word in actor.keys)
        person = self.bots.bot.user(id=1)
        await self.bots.bot.application.process_update(text(person, 1, words))

    # Steps.

    def begin(self, actor: Actor, begin: Callable[[Actor], object]) -> None:
        self.actors.append(actor)
        for key in actor.keys:
            self.queues[key].append(actor)
        begin(actor)
        assert actor.asked.wait(SOON_SECONDS), f"{actor} does not even ask"
        time.sleep(ASKED_SECONDS)

    def in_a_thread(self, function: Callable[[Actor], Any]) -> Callable[[Actor], None]:
        def begin(actor: Actor) -> None:
            actor.ended = in_thread(function, actor)

        return begin

    def on_the_loop(self, work: Callable[[Actor], Any]) -> Callable[[Actor], None]:
        async def start(actor: Actor) -> None:
            actor.task = Context().run(asyncio.ensure_future, work(actor))
            actor.task.add_done_callback(lambda task: actor.ended.set_result(None))

        return lambda actor: self.bots.call(start(actor))

    def actor(self, kind: str, keys: Sequence[tuple[str, str]]) -> Actor:
        return Actor(f"{kind} {len(self.actors)}", keys)

    def one_key(self, data: Any) -> list[tuple[str, str]]:
        return [data.draw(st.sampled_from(sorted(self.queues)), label="key")]

    @rule(data=st.data())
    def a_view_comes(self, data: Any) -> None:
        self.begin(
            Actor(f"view {len(self.actors)}", self.one_key(data)), self.in_a_thread(self.view)
        )

    @rule(data=st.data())
    def a_task_comes(self, data: Any) -> None:
        self.begin(
            Actor(f"task {len(self.actors)}", self.one_key(data)), self.on_the_loop(self.edit)
        )

    @rule(data=st.data())
    def a_task_of_another_loop_comes(self, data: Any) -> None:
        def work(actor: Actor) -> None:
            asyncio.run(self.edit(actor))

        self.begin(self.actor("loop", self.one_key(data)), self.in_a_thread(work))

    @rule()
    def an_update_comes(self) -> None:
        """It needs all keys."""
        self.begin(self.actor("update", list(self.queues)), self.on_the_loop(self.update))

    @precondition(lambda self: any(self.queues.values()))
    @rule(data=st.data())
    def an_event_loop_closes_with_somebody_who_waits(self, data: Any) -> None:
        busy = sorted(key for key, queue in self.queues.items() if queue)
        actor = Actor("abandoned", [data.draw(st.sampled_from(busy), label="key")])

        def work() -> None:
            loop = asyncio.new_event_loop()
            task = loop.create_task(self.edit(actor))
            self.abandoned.append((loop, task))
            task._log_destroy_pending = False  # That it is never done is meant.
            loop.run_until_complete(asyncio.sleep(ASKED_SECONDS))
            loop.close()

        in_thread(work).result(SOON_SECONDS)

    @precondition(lambda self: any(self.queues.values()))
    @rule(data=st.data())
    def a_holder_leaves(self, data: Any) -> None:
        self.end(self.draw_one(data, self.holders()), lambda actor: actor.may_leave.set())

    @precondition(lambda self: any(a.task for a in self.present()))
    @rule(data=st.data())
    def somebody_is_cancelled(self, data: Any) -> None:
        self.end(self.draw_one(data, [a for a in self.present() if a.task]), self.cancel)

    @precondition(lambda self: self.followers())
    @rule(data=st.data())
    def a_holder_leaves_when_the_next_is_cancelled(self, data: Any) -> None:
        holder, follower = data.draw(st.sampled_from(self.followers()), label="pair")

        async def both() -> None:
            holder.may_leave.set()
            while not holder.task.done():  # noqa: ASYNC110 (its very turn is wanted)
                await asyncio.sleep(0)
            follower.task.cancel()

        self.bots.call(both())
        for actor in (holder, follower):
            self.end(actor, lambda _: None)

    @precondition(lambda self: any(self.queues.values()))
    @rule()
    def all_holders_leave_at_once(self) -> None:
        holders = self.holders()
        for actor in holders:
            actor.may_leave.set()
        for actor in holders:
            self.end(actor, lambda _: None)

    # The model.

    def present(self) -> list[Actor]:
        return [a for a in self.actors if any(a in self.queues[key] for key in a.keys)]

    def holders(self) -> list[Actor]:
        return [a for a in self.present() if all(self.queues[key][0] is a for key in a.keys)]

    def followers(self) -> list[tuple[Actor, Actor]]:
        """Holders on the event loop, each with one there who is the next to get its key."""
        return [
            (queue[0], queue[1])
            for queue in self.queues.values()
            if len(queue) > 1 and queue[0] in self.holders() and queue[0].task and queue[1].task
        ]

    def draw_one(self, data: Any, actors: Sequence[Actor]) -> Actor:
        actor: Actor = data.draw(st.sampled_from(actors), label="who")
        return actor

    def cancel(self, actor: Actor) -> None:
        assert actor.task is not None
        self.bots.loop.call_soon_threadsafe(actor.task.cancel)

    def end(self, actor: Actor, end: Callable[[Actor], object]) -> None:
        end(actor)
        with suppress(TimeoutError):
            actor.ended.exception(SOON_SECONDS)
        assert actor.ended.done(), f"{actor} does not end"
        for key in actor.keys:
            if actor in self.queues[key]:
                self.queues[key].remove(actor)

    @invariant()
    def those_who_are_next_have_their_keys_and_nobody_else(self) -> None:
        expected = {key: [] for key in self.queues}
        for actor in self.holders():
            for key in actor.keys:
                expected[key].append(actor)
        deadline = time.monotonic() + SOON_SECONDS
        while self.now_inside() != expected and time.monotonic() < deadline:
            assert self.collisions == []
            time.sleep(0.002)
        assert self.collisions == []
        assert self.now_inside() == expected, f"It should be {expected}."

    def now_inside(self) -> dict[tuple[str, str], list[Actor]]:
        with self._mutex:
            return {key: list(actors) for key, actors in self.inside.items()}

    def teardown(self) -> None:
        for actor in self.actors:
            actor.may_leave.set()
        for actor in self.actors:
            with suppress(BaseException):
                actor.ended.exception(SOON_SECONDS)
        stuck = [actor for actor in self.actors if not actor.ended.done()]
        for actor in stuck:
            if actor.task is not None:
                self.cancel(actor)
        assert stuck == [], f"{stuck} wait for ever"
        for name, word in self.queues:
            fragment = getattr(self.bots.declared, name)
            assert self.bots.call(is_free(fragment, word)), f"{word} is held for ever"


def check_model(lock: str, storage: Any, examples: int) -> None:
    bots = Bots(lock, storage)
    machine = type("Queues", (Queues,), {"bots": bots})
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=STEPS,
                deadline=None,
                phases=[Phase.generate],  # Shrinking would take minutes: a failure takes seconds.
            ),
        )
    finally:
        bots.close()


@pytest.mark.once
def test_in_memory_the_queues_are_those_of_the_model() -> None:
    with within(120):
        check_model("process", MemoryStorage(), 40)


@both_locks
@pytest.mark.django_db(transaction=True)
def test_on_the_database_the_queues_are_those_of_the_model(lock: str) -> None:
    with within(120):
        check_model(lock, None, 8)
