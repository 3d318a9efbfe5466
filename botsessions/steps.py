"""Handlers chosen by what the session holds: dialogues of several steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast, overload

from telegram.ext import Application, BaseHandler

from .arguments import check_function
from .exceptions import SessionNotInitialized

if TYPE_CHECKING:
    from .ptb import LazySessionContext, SessionContext

T = TypeVar("T")

USAGE = """Write StepHandler(lambda data: data.step == "address", MessageHandler(…), …)."""


class Taken(NamedTuple):
    """A handler that takes an update, and what its check has found."""

    handler: BaseHandler[Any, Any, Any]
    check_result: object


class StepHandler(BaseHandler[Any, Any, Any], Generic[T]):
    """Handles what one of ``handlers`` takes, if the session's data says so.

    Otherwise the update goes to the handlers behind this one in its group, as if this one did not
    take it. Add it to one group of the application.

    Args:
        condition: is given the session's data, and says whether this is its step. It may be
            ``async``. It is not asked where there is no data: no session key, nothing stored and
            no ``initial``.
        handlers: the first that takes the update handles it.
    """

    @overload
    def __init__(
        self,
        condition: Callable[[T], object],
        *handlers: BaseHandler[Any, SessionContext[T], Any],
    ) -> None: ...
    @overload
    def __init__(
        self,
        condition: Callable[[T], object],
        *handlers: BaseHandler[Any, LazySessionContext[T], Any],
    ) -> None: ...
    @overload
    def __init__(
        self, condition: Callable[[T], object], *handlers: BaseHandler[Any, Any, Any]
    ) -> None: ...
    def __init__(
        self, condition: Callable[[T], object], *handlers: BaseHandler[Any, Any, Any]
    ) -> None:
        refuse_mistakes(condition, handlers)
        # PTB shows handlers by their callback.
        super().__init__(cast("Any", condition), block=True)
        self.condition = condition
        self.handlers = handlers

    def check_update(self, update: object) -> Taken | None:
        """Return the first handler that takes the update if this is its step."""
        return next(taking(self.handlers, update), None)

    async def handle_update(
        self,
        update: Any,
        application: Application[Any, Any, Any, Any, Any, Any],
        check_result: Any,
        context: Any,
    ) -> Any:
        """Let the handler take the update, or the next in the group if this is not its step."""
        if await self.is_now(context):
            return await handled(check_result, update, application, context)
        for taken in taking(behind(self, application), update):
            step = taken.handler
            if not isinstance(step, StepHandler):
                return await handled(taken, update, application, context)
            if await step.is_now(context):
                return await handled(
                    cast("Taken", taken.check_result), update, application, context
                )
        return None

    async def is_now(self, context: Any) -> bool:
        """Whether the session's data says that this is its step."""
        try:
            data = await context.get_session()
        except SessionNotInitialized:
            return False
        if data is None:
            return False
        answer = self.condition(data)
        return bool(await answer if inspect.isawaitable(answer) else answer)


def refuse_mistakes(condition: Any, handlers: tuple[Any, ...]) -> None:
    if isinstance(condition, BaseHandler) or not callable(condition):
        raise TypeError(f"{condition!r} is no condition. {USAGE}")
    check_function("The condition", condition, "a function of the session's data", "data")
    if not handlers:
        raise TypeError(f"A StepHandler needs handlers behind its condition. {USAGE}")
    for handler in handlers:
        if isinstance(handler, StepHandler):
            raise TypeError("A StepHandler holds no other: join their conditions in one.")
        if not isinstance(handler, BaseHandler):
            raise TypeError(f"{handler!r} is no handler. {USAGE}")


def taking(handlers: Any, update: object) -> Iterator[Taken]:
    """Yield the handlers that take an update, as PTB finds out."""
    for handler in handlers:
        check_result = handler.check_update(update)
        if check_result is not None and check_result is not False:
            yield Taken(handler, check_result)


def behind(
    handler: BaseHandler[Any, Any, Any], application: Application[Any, Any, Any, Any, Any, Any]
) -> list[BaseHandler[Any, Any, Any]]:
    """Return the handlers behind one in its group."""
    groups = (group for group in application.handlers.values() if handler in group)
    group = next(groups, [handler])
    return group[group.index(handler) + 1 :]


async def handled(
    taken: Taken,
    update: object,
    application: Application[Any, Any, Any, Any, Any, Any],
    context: Any,
) -> Any:
    """Let a handler handle an update as PTB does, with ``block=False`` beside what follows."""
    handler, check_result = taken
    coroutine = handler.handle_update(update, application, check_result, context)
    if blocks(handler, application):
        return await coroutine
    application.create_task(coroutine, update=update, name=f"botsessions:step:{handler}")
    return None


def blocks(
    handler: BaseHandler[Any, Any, Any], application: Application[Any, Any, Any, Any, Any, Any]
) -> bool:
    if isinstance(handler.block, bool):
        return handler.block
    defaults = getattr(application.bot, "defaults", None)
    return defaults is None or bool(defaults.block)
