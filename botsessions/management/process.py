"""How a command that runs for long is stopped, and started anew while it is being developed."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from django.db import connections
from django.utils import autoreload

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MOST_UNCOLLECTED = 10_000
"""So many objects may be new since the garbage collector last looked; Python's default is 700."""
SWITCH_SECONDS = 0.0001
"""So long a thread may keep others from going on; Python's default is 0.005."""
RELOAD = 3
"""The exit status by which Django's reloader asks to be started again."""


def tune() -> None:
    """Set Python up for a process that runs bots, once it has started."""
    collect_seldom()
    if any(connection.vendor == "mysql" for connection in connections.all()):
        switch_soon()


def collect_seldom() -> None:
    """Spare a process that has started the garbage collector's looks at all that it consists of.

    What an update leaves behind is freed without it, but for few objects. It took a quarter of a
    bot's time to look at the same modules, models and translations again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(MOST_UNCOLLECTED, *gc.get_threshold()[1:])


def switch_soon() -> None:
    """Let a thread go on soon whose answer has come, while the event loop is busy.

    That is of use where the thread has waited for a server. On PostgreSQL the event loop does it.
    """
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))


@contextmanager
def on_signal(
    stop: Callable[[], object], numbers: Sequence[signal.Signals] = SIGNALS
) -> Iterator[None]:
    """Call ``stop`` at one of these signals; a second one ends the process at once.

    In another thread than the main one, where Python knows no signals, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(*args: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        stop()

    before = {number: signal.signal(number, first) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_reloading(run: Callable[[], bool], stop: Callable[[], object]) -> bool:
    """Call ``run`` in a process of its own, and in a new one whenever the code has changed.

    Args:
        run: returns whether all went well. When it does so by itself, so does this function.
        stop: makes it return; called before it is run anew, and at SIGINT or SIGTERM.
    """
    if os.environ.get(autoreload.DJANGO_AUTORELOAD_ENV) == "true":
        return run_watched(run, stop)
    sys.exit(run_children())


def run_children() -> int:
    child: subprocess.Popen[bytes] | None = None

    def pass_on(*args: object) -> None:
        if child is not None:
            child.terminate()

    for number in SIGNALS:
        signal.signal(number, pass_on)
    environment = os.environ | {autoreload.DJANGO_AUTORELOAD_ENV: "true"}
    while True:
        child = subprocess.Popen(autoreload.get_child_arguments(), env=environment)  # noqa: S603
        status = child.wait()
        if status != RELOAD:
            return status if status >= 0 else 128 - status


def run_watched(run: Callable[[], bool], stop: Callable[[], object]) -> bool:
    went_well = False
    over = threading.Event()
    reloader = autoreload.get_reloader()

    def work() -> None:
        nonlocal went_well
        try:
            went_well = run()
        finally:
            over.set()
            reloader.stop()

    def finish() -> None:
        stop()
        over.wait()

    def end() -> NoReturn:
        finish()
        sys.exit(not went_well)

    def before_reload(file_path: Path, **kwargs: object) -> None:
        if file_path.suffix == ".py":  # Others may be templates or translations.
            finish()

    autoreload.file_changed.connect(before_reload)
    # A terminal sends SIGINT to the parent as well, which passes it on as SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with on_signal(end, [signal.SIGTERM]):
        autoreload.start_django(reloader, work)
        over.wait()
    return went_well
