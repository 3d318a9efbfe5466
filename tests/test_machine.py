"""Processes that open, change, save, delete, crash and are cut off, against a model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias
from unittest import mock

import pytest
from django.utils import timezone
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from botsessions import enhance_storage, holding, session
from botsessions.database import leases_table
from botsessions.database.connections import close_databases
from botsessions.database.keeper import keeper_of
from botsessions.exceptions import SessionConflict, SessionLockTimeout
from botsessions.locks import ProcessLock
from botsessions.maintenance.sweeping import Sweep
from botsessions.models import BotSession, BotSessionLease
from botsessions.sources import FromKey
from botsessions.storages import ANY, Address, Record
from botsessions.unit import Unit

DEFAULT = "default"
ADDRESS = Address("bot", "", "42")
Data: TypeAlias = "dict[str, int] | None"

counter = session(initial=dict, storage=enhance_storage(time_to_live=timedelta(hours=1)))


@dataclass
class Process:
    """One that has at most one session open."""

    lock: ProcessLock = field(default_factory=ProcessLock)
    unit: Any = None
    holder: int = 0
    """Which of the key's holders it is."""
    record: int | None = None
    """Which of the key's records it has read or written last."""
    had_expired: bool = False
    known: Data = None
    """What it takes for stored,"""
    data: Data = None
    """and what it wants to be stored."""


@dataclass
class Stored:
    """What is stored under a key, in the model."""

    record: int | None = None
    value: Data = None
    """``None`` once it has expired."""


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.processes = [Process(), Process()]
        self.stored = Stored()
        self.holder = 0
        """The last holder of the key."""
        self.held = False
        """Whether its lease has neither ended nor been given back."""
        self.numbers = iter(range(1, 10**9))
        BotSession.objects.all().delete()
        BotSessionLease.objects.all().delete()

    def teardown(self) -> None:
        for process in self.processes:
            if process.unit is not None:
                self.run(process, closed(process.unit))
        self.loop.close()

    # What processes do.

    def opened(self) -> list[Process]:
        return [process for process in self.processes if process.unit is not None]

    def any_opened(self) -> bool:
        return bool(self.opened())

    @precondition(lambda self: len(self.opened()) < 2)
    @rule()
    def open(self) -> None:
        (process, *_) = [process for process in self.processes if process.unit is None]
        unit = Unit(counter.fragments, "bot", FromKey(ADDRESS.key), lock="database")
        if self.held:
            with pytest.raises(SessionLockTimeout):
                self.run(process, unit.open())
            self.run(process, closed(unit))
            return
        self.run(process, unit.open())
        process.unit, process.record = unit, self.stored.record
        process.known = self.stored.value
        process.had_expired = process.record is not None and process.known is None
        process.holder = self.holder = next(self.numbers)
        self.held = True
        process.data = dict(unit.data("").get())
        assert process.data == (process.known or {})

    @precondition(any_opened)
    @rule(data=st.data(), value=st.none() | st.integers(0, 3))
    def change(self, data: st.DataObject, value: int | None) -> None:
        process = data.draw(st.sampled_from(self.opened()))
        process.data = None if value is None else {"n": value}
        process.unit.data("").assign(process.data and {**process.data})

    @precondition(any_opened)
    @rule(data=st.data(), last=st.booleans())
    def save(self, data: st.DataObject, last: bool) -> None:
        process = data.draw(st.sampled_from(self.opened()))
        save = process.unit.save(last=last)
        if self.conflicts(process):
            with pytest.raises(SessionConflict):
                self.run(process, save)
        else:
            self.run(process, save)
            self.note_saved(process)
        if last:
            self.end(process)

    @precondition(any_opened)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        self.end(data.draw(st.sampled_from(self.opened())))

    def end(self, process: Process) -> None:
        self.run(process, closed(process.unit))
        self.held = self.held and process.holder != self.holder
        process.unit = None

    @precondition(any_opened)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        self.processes.remove(data.draw(st.sampled_from(self.opened())))
        self.processes.append(Process())

    # What happens meanwhile.

    @precondition(lambda self: self.held)
    @rule()
    def lease_ends(self) -> None:
        """Nobody has renewed it, because its process was killed, or cut off for too long."""
        BotSessionLease.objects.update(ends_at=0)
        self.held = False

    @precondition(lambda self: self.stored.value is not None)
    @rule()
    def expire(self) -> None:
        BotSession.objects.update(expires_at=timezone.now() - timedelta(hours=1))
        self.stored.value = None

    @precondition(lambda self: self.stored.record is not None and self.stored.value is None)
    @rule()
    def sweep(self) -> None:
        for _ in Sweep().run(BotSession, DEFAULT):
            pass
        if not self.held:  # What somebody holds is left.
            self.stored.record = None

    @rule(value=st.integers(0, 3))
    def write_without_a_lock(self, value: int) -> None:
        record = Record({"n": value}, revision=ANY)
        self.loop.run_until_complete(counter.fragment.storage.write(ADDRESS, record))
        self.stored = Stored(next(self.numbers), {"n": value})

    @invariant()
    def what_is_stored_is_what_the_model_says(self) -> None:
        stored = self.loop.run_until_complete(counter.aget(ADDRESS.key, bot=ADDRESS.bot))
        assert stored == self.stored.value

    # The model of a save.

    def conflicts(self, process: Process) -> bool:
        if process.data == process.known:
            return False  # Nothing is written.
        if process.holder != self.holder:
            return True
        if self.stored.record is None and (process.data is None or process.had_expired):
            return False  # It is to be deleted, or had expired, and is gone.
        return process.record != self.stored.record

    def note_saved(self, process: Process) -> None:
        if process.data == process.known:
            return
        record = None if process.data is None else next(self.numbers)
        process.record, process.known, process.had_expired = record, process.data, False
        self.stored = Stored(record, process.data)
        self.held = True  # Writing renews the lease.

    # Running.

    def run(self, process: Process, coroutine: Any) -> Any:
        """Run something as if in another process."""
        with mock.patch.object(holding, "process_lock", return_value=process.lock):
            return self.loop.run_until_complete(coroutine)


async def closed(unit: Unit) -> None:
    unit.close()
    keeper_of(DEFAULT).close()  # When it has given back what is to be.


@pytest.mark.django_db(transaction=True)
def test_e6_no_order_of_events_loses_a_change_or_lets_two_have_a_key() -> None:
    counter.installed("bot", "database")
    with (
        mock.patch.object(holding, "PATIENCE_SECONDS", -1),
        mock.patch.object(leases_table, "GRACE_SECONDS", 0),
        mock.patch.object(leases_table, "LEASE_SECONDS", 3600),  # Unless the machine ends them.
    ):
        try:
            run_state_machine_as_test(
                Machine, settings=settings(max_examples=200, stateful_step_count=30, deadline=None)
            )
        finally:
            close_databases()
