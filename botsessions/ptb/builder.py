"""Putting a session into PTB's builder of applications."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from django.core.exceptions import ImproperlyConfigured
from telegram._utils.defaultvalue import DefaultValue
from telegram.ext import Application, ApplicationBuilder, CallbackContext, ContextTypes, ExtBot
from telegram.ext import JobQueue as PlainJobQueue

from ..arguments import wrong
from ..bots import LOCKS, Bot, check_alias
from .application import SessionApplication
from .building import building
from .context import BaseSessionContext, LazySessionContext, SessionContext
from .jobs import SessionJobQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from telegram import Bot as TelegramBot
    from telegram.ext import BaseRateLimiter
    from typing_extensions import Self

    from ..declaration import Declaration, Fragment

    Hook: TypeAlias = Callable[[SessionApplication], Coroutine[Any, Any, None]]

NOBODY = "0:NOBODY"
"""In place of a token, for an application that is built but not run."""
OURS = ("session", "session_bot", "session_lock")
AnyBuilder = ApplicationBuilder[Any, Any, Any, Any, Any, Any]


class SessionBuilder(
    ApplicationBuilder[
        ExtBot[None], Any, dict[Any, Any], dict[Any, Any], dict[Any, Any], PlainJobQueue[Any]
    ]
):
    """PTB's builder with a session installed in it."""

    __slots__ = ()

    if TYPE_CHECKING:  # PTB's annotations lose the builder, or want another application.

        def bot(self, bot: TelegramBot) -> Self: ...  # type: ignore[override]
        def context_types(self, context_types: ContextTypes[Any, Any, Any, Any]) -> Self: ...  # type: ignore[override]
        def job_queue(self, job_queue: PlainJobQueue[Any] | None) -> Self: ...  # type: ignore[override]
        def rate_limiter(self, rate_limiter: BaseRateLimiter[Any]) -> Self: ...  # type: ignore[override]
        def post_init(self, post_init: Hook) -> Self: ...
        def post_stop(self, post_stop: Hook) -> Self: ...
        def post_shutdown(self, post_shutdown: Hook) -> Self: ...

    def application_class(
        self,
        application_class: type[Application[Any, Any, Any, Any, Any, Any]],
        kwargs: dict[str, Any] | None = None,
    ) -> Self:
        """Use a class of your own, which derives from :class:`SessionApplication`."""
        ours = {name: self._application_kwargs[name] for name in OURS}
        return super().application_class(application_class, {**ours, **(kwargs or {})})

    def build(self) -> SessionApplication:
        """Build the application.

        Raises:
            ImproperlyConfigured: a later call replaced what the session's installation had set.
        """
        check(self)
        application = cast(SessionApplication, super().build())
        application.built_by = self
        return application


def install(
    builder: AnyBuilder, session: Declaration, bot: str | None, lock: str
) -> SessionBuilder:
    """Make ``builder`` build applications with ``session``; return the same builder.

    Raises:
        ImproperlyConfigured: it has a session already, or classes that do not derive from ours.
        TypeError: an argument is of the wrong kind.
        ValueError: the bot's name cannot be stored.
    """
    if not isinstance(builder, ApplicationBuilder):
        wrong("builder", builder, "an Application.builder() whose application is not built yet")
    if bot is not None:
        check_alias("bot", bot)
    if lock not in LOCKS:
        raise ImproperlyConfigured(
            f"There is no lock {lock!r}: choose one of {', '.join(map(repr, LOCKS))}."
        )
    if "session" in builder._application_kwargs:
        raise ImproperlyConfigured(
            "This builder has a session already, as the one that APPLICATION is given has: leave "
            "install() out of it. For several sessions use one multi_session()."
        )
    application_class, context, job_queue = parts(builder)
    if application_class is Application:
        application_class = SessionApplication
    if context is CallbackContext:
        context = LazySessionContext if session.is_lazy else SessionContext
    if job_queue is not None and isinstance(builder._job_queue, DefaultValue):
        job_queue = SessionJobQueue()
    refuse_foreign(application_class, context, job_queue)

    ours = dict(zip(OURS, (session, bot, lock), strict=True))
    kwargs = builder._application_kwargs | ours
    builder.application_class(application_class, kwargs)
    types = DefaultValue.get_value(builder._context_types)
    builder.context_types(ContextTypes(context, types.bot_data, types.chat_data, types.user_data))
    builder.job_queue(job_queue)
    return with_checks(builder)


def build_application(bot: Bot, builder: AnyBuilder | None = None) -> SessionApplication:
    """Return the application of a bot of the settings, as its author's function builds it.

    Raises:
        ImproperlyConfigured: the settings are wrong, or the function returned something else.
    """
    if builder is None:
        builder = ApplicationBuilder().token(bot.token.reveal() if bot.token else "")
    if (persistence := bot.persistence) is not None:
        builder.persistence(persistence)
    install(builder, bot.session, bot.alias, bot.lock)
    application = call(bot.application, builder, f"APPLICATION of bot {bot.alias!r}")
    if persistence is not None and application.kept is None:
        raise ImproperlyConfigured(
            f"APPLICATION of bot {bot.alias!r} replaces what PERSISTENCE keeps data in by "
            f"{type(application.persistence).__name__}: leave .persistence(…) out of it."
        )
    return application


def kept_fragments(bot: Bot) -> Mapping[str, Fragment[Any]]:
    """Return the fragments that a bot's application, built for that, keeps, by name.

    Raises:
        ImproperlyConfigured: it cannot be built.
    """
    token = bot.token.reveal() if bot.token else NOBODY
    try:
        return build_application(bot, ApplicationBuilder().token(token)).kept_fragments()
    except ImproperlyConfigured:
        raise
    except Exception as exc:
        raise ImproperlyConfigured(
            f"APPLICATION of bot {bot.alias!r} cannot be built, which tells how its data is kept: "
            f"it raised {type(exc).__name__}."
        ) from exc


def call(function: Any, builder: AnyBuilder, name: str) -> SessionApplication:
    """Return what an author's function, which messages call so, builds with that builder.

    Raises:
        ImproperlyConfigured: it is no application with a session, or not that builder's.
    """
    is_installed = "session" in builder._application_kwargs
    token = building.set(name)
    try:
        built = function(builder)
    finally:
        building.reset(token)
    if isinstance(built, SessionApplication) and built.built_by is builder:
        return built
    if inspect.iscoroutine(built):
        built.close()
    if isinstance(built, Application) and (is_installed or isinstance(built, SessionApplication)):
        problem = (
            "an application of another builder, for which the bot's settings do not hold: let it "
            "use the builder that it is given, instead of one of its own"
        )
    elif isinstance(built, Application):
        problem = (
            "an application without a session: let it install() one into the builder that it is "
            "given"
        )
    elif inspect.isawaitable(built):
        problem = "something to await: write it with def, not async def"
    elif isinstance(built, ApplicationBuilder):
        problem = "the builder: let it return builder.build()"
    else:
        kind = type(built).__name__
        problem = f"{kind}: let it return the application, as in `return builder.build()`"
    raise ImproperlyConfigured(f"{name} returned {problem}.")


def parts(builder: AnyBuilder) -> tuple[type, type, Any]:
    """Return the classes of application and context, and the job queue, that are to be used."""
    types = DefaultValue.get_value(builder._context_types)
    return (
        DefaultValue.get_value(builder._application_class),
        types.context,
        DefaultValue.get_value(builder._job_queue),
    )


def refuse_foreign(application_class: type, context: type, job_queue: Any) -> None:
    """Raise ImproperlyConfigured if one of them does not derive from ours."""
    derives(application_class, SessionApplication, "application_class")
    derives(context, BaseSessionContext, "context_types")
    if job_queue is not None:
        derives(type(job_queue), SessionJobQueue, "job_queue")


def derives(part: type, ours: type, method: str) -> None:
    if not issubclass(part, ours):
        raise ImproperlyConfigured(
            f"The builder's {method}() was called with {part.__name__}, which does not derive from "
            f"botsessions' {ours.__name__}, so handlers would have no context.session."
        )


def check(builder: AnyBuilder) -> None:
    """Raise ImproperlyConfigured if a later call replaced what the installation had set."""
    refuse_foreign(*parts(builder))
    if "session" not in builder._application_kwargs:
        raise ImproperlyConfigured(
            "application_class() was called after the session's installation: call it before."
        )


def with_checks(builder: AnyBuilder) -> SessionBuilder:
    """Return the same builder, turned into one that checks itself when it builds."""
    plain = type(builder)
    if plain is ApplicationBuilder:
        builder.__class__ = SessionBuilder
    elif not issubclass(plain, SessionBuilder):

        def build(self: AnyBuilder) -> Any:
            check(self)
            application: Any = plain.build(self)
            application.built_by = self
            return application

        builder.__class__ = type(plain.__name__, (plain,), {"__slots__": (), "build": build})
    return cast(SessionBuilder, builder)
