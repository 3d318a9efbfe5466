"""Wrong arguments: errors that say what to write instead."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn, ParamSpec, TypeVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

LONGEST = timedelta(days=36_525)

P = ParamSpec("P")
R = TypeVar("R")


def wrong(argument: str, value: object, expected: str) -> NoReturn:
    raise TypeError(f"{argument} must be {expected}, not {kind_of(value)}.")


def kind_of(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return "empty" if value == "" else type(value).__name__


def check_text(argument: str, value: object, expected: str) -> None:
    """Raise TypeError for what is no text with something in it."""
    if not isinstance(value, str) or not value:
        wrong(argument, value, f"{expected}, as text")


def check_duration(argument: str, value: object) -> None:
    """Raise an error for what is no ``timedelta`` of more than nothing and less than a century."""
    if not isinstance(value, timedelta):
        wrong(argument, value, "a timedelta, like timedelta(minutes=30)")
    if not timedelta(0) < value <= LONGEST:
        raise ValueError(
            f"{argument} must be longer than nothing and at most a century, not {value}."
        )


def check_storage(storage: object) -> None:
    """Raise TypeError for what is no storage."""
    methods = (getattr(storage, name, None) for name in ("read", "write", "delete"))
    if isinstance(storage, type) or not all(map(callable, methods)):
        wrong("storage", storage, "an object with read, write and delete, like DatabaseStorage()")


def check_function(argument: str, value: object, expected: str, *arguments: str) -> None:
    """Raise TypeError for what cannot be called with so many arguments.

    Args:
        expected: what it must be.
        arguments: what it will be given.
    """
    if not callable(value):
        wrong(argument, value, expected)
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # Some builtin functions do not tell.
        return
    try:
        signature.bind(*arguments)
    except TypeError as exc:
        call = f"{getattr(value, '__name__', type(value).__name__)}({', '.join(arguments)})"
        raise TypeError(f"{argument} must be {expected}, but {call} fails: {exc}.") from None


def telling_usage(function: Callable[P, R]) -> Callable[P, R]:
    """Let a call with wrong arguments say which there are."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError:
            problem = misfit(function, args, kwargs)
            if problem is None:
                raise
        raise TypeError(f"{name_of(function)}(): {problem}. Write {usage(function)}.")

    return markcoroutinefunction(call) if iscoroutinefunction(function) else call


def misfit(function: Callable[..., Any], args: Any, kwargs: Any) -> str | None:
    """Return why a function cannot be called with these arguments, ``None`` if it can."""
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as exc:
        return str(exc)
    except ValueError:  # Some builtin functions do not tell.
        return None
    return None


def usage(function: Callable[..., Any]) -> str:
    """Return how a function is called, like ``edit(key, bot=…, **ids)``."""
    parts = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            parts.append(f"{parameter.name}=…")
        elif parameter.kind is parameter.VAR_KEYWORD:
            parts.append(f"**{parameter.name}")
        elif parameter.name != "self":
            parts.append(parameter.name)
    return f"{name_of(function)}({', '.join(parts)})"


def name_of(function: Callable[..., Any]) -> str:
    """Return what a caller writes: a class for its constructor."""
    *_, owner, name = ["", *function.__qualname__.split(".")]
    return owner if name == "__init__" else name
