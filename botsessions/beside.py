"""Code that runs beside an update's handlers: it has a session of its own and holds no key.

That is a handler with ``block=False``, or a task. It takes the key for moments only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from . import holding
from .contents import Contents
from .snapshots import Undo
from .unit import Unit, current, enclosing


def beside(unit: Unit) -> Unit:
    """Return a unit for code that runs beside the handlers of ``unit``, for the same keys."""
    other = Unit(
        unit.fragments,
        unit.bot,
        unit.source,
        lock=unit.lock,
        holds=False,
        outer=unit,
        origin=unit.origin,
    )
    other.error = unit.error
    for name, data in unit.fresh.items():
        if data.stored is not None and data.stored.is_known:
            other.exchange.known[name] = data.stored.raw
    return other


@asynccontextmanager
async def edit_session(unit: Unit) -> AsyncIterator[None]:
    """Hold the keys of a unit, with fresh data, and save on leaving.

    A unit that holds them has the freshest data already, and is saved as a whole.
    """
    await unit.load()
    if unit.holds:
        with part_of(unit):
            yield
        return
    # Whoever has started this code may wait for it, with the keys held.
    held = any(other.held for other in enclosing(unit.outer))
    holder = Unit(
        unit.fragments,
        unit.bot,
        unit.source,
        lock=unit.lock,
        origin=unit.origin,
        patience=holding.WITHIN_SECONDS if held else None,
    )
    around = current.get()
    current.set(holder)
    try:
        await holder.enter()
        await unit.save()
        await holder.load()
        try:
            with Undo([*holder.contents.all.values(), holder.contents]):
                yield
                await holder.save(last=True)
        except BaseException:
            holder.failed = True
            if any(data.was_written for data in holder.contents.own):
                go_on_with(holder, unit)
            raise
        go_on_with(holder, unit)
    finally:
        holder.close()
        if current.get() is holder:  # Else a later block is still open.
            current.set(next(enclosing(around), None))


@contextmanager
def part_of(unit: Unit) -> Iterator[None]:
    """Let the contents of a unit be what they were if a block of its code raises."""
    block, failed = Contents(unit.fragments), True
    block.take_part(unit)
    block.step_in()
    try:
        with Undo([unit.contents]):
            yield
        failed = False
    except GeneratorExit:
        block.is_abandoned = True
        raise
    finally:
        block.step_out()
        block.close(failed=failed)


def go_on_with(holder: Unit, unit: Unit) -> None:
    """Let a unit have the data of the one that has held its keys for it.

    What other code of the unit has changed meanwhile stays, and is a conflict when it is saved.
    """
    changed = {name for name, data in unit.contents.all.items() if data.is_changed}
    fresher = holder.contents.all.items()
    unit.contents.replace({name: data for name, data in fresher if name not in changed})
    holder.contents.forget()
