"""Moments of event loops: what was read in one is what is stored until other code has run."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary


class Moment:
    """A turn of an event loop."""

    over = False

    def end(self) -> None:
        self.over = True


_moments: WeakKeyDictionary[asyncio.AbstractEventLoop, Moment] = WeakKeyDictionary()


def this_moment() -> Moment:
    """Return the moment of the running event loop, the same for all that ask in one turn."""
    loop = asyncio.get_running_loop()
    moment = _moments.get(loop)
    if moment is None or moment.over:
        moment = _moments[loop] = Moment()
        loop.call_soon(moment.end)
    return moment
