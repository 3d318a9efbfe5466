"""The bots that ``settings.BOTSESSIONS`` declares, by alias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from .arguments import check_text, misfit, wrong
from .causes import told
from .conf import app_settings
from .declaration import Declaration, Fragment
from .records import MAX_NAME_LENGTH
from .secret import Secret, hiding

BOT_SETTINGS = frozenset(
    {
        *("TOKEN", "SESSION", "APPLICATION", "LOCK"),
        *("WEBHOOK_SECRET", "ALLOWED_UPDATES", "FREE_STORAGE", "PERSISTENCE"),
    }
)
PLAIN_SESSION = "botsessions.sessions.plain"
NO_SESSION = "botsessions.sessions.no_session"
PERSISTENCE = "botsessions.persistence.BotPersistence"
LOCKS = ("process", "database")


@dataclass(frozen=True)
class Bot:
    """A bot as the settings declare it. What they name is imported when it is asked for."""

    alias: str
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", hiding(self.settings))

    @property
    def token(self) -> Secret | None:
        """From Telegram; ``None`` for a bot that works offline."""
        return self._secret("TOKEN")

    @property
    def session(self) -> Declaration:
        session: object
        if self.is_elsewhere:
            session = import_string(PLAIN_SESSION)
        elif self.settings.get("PERSISTENCE") and not self.settings.get("SESSION"):
            session = import_string(NO_SESSION)
        else:
            session = self._imported("SESSION")
        if not isinstance(session, Declaration):
            raise ImproperlyConfigured(
                f"{self._where('SESSION')} is no session: declare it with session(), "
                "lazy_session() or multi_session()."
            )
        return session

    @property
    def persistence(self) -> Any:
        """A new persistence of python-telegram-bot's data; ``None`` for a bot without.

        Raises:
            ImproperlyConfigured: the setting leads to none.
        """
        declared = self.settings.get("PERSISTENCE")
        if not declared:
            return None
        make = import_string(PERSISTENCE) if declared is True else self._imported("PERSISTENCE")
        problem = misfit(make, (), {}) if callable(make) else f"it is {type(make).__name__}"
        if problem is not None:
            raise ImproperlyConfigured(f"{self._where('PERSISTENCE')} cannot be called: {problem}.")
        try:
            made = make()
        except Exception as exc:  # Of the author's function.
            raise ImproperlyConfigured(f"{self._where('PERSISTENCE')}: {told(exc)}.") from exc
        if not hasattr(made, "fragments"):
            raise ImproperlyConfigured(
                f"{self._where('PERSISTENCE')} gives {type(made).__name__}, which is no "
                "BotPersistence."
            )
        return made

    @property
    def fragments(self) -> Mapping[str, Fragment[Any]]:
        """Of the session and of what the persistence keeps, by name."""
        return {**self.session.fragments, **getattr(self.persistence, "fragments", {})}

    @property
    def application(self) -> Any:
        """The author's function from a builder to an application."""
        return self._imported("APPLICATION")

    @property
    def lock(self) -> str:
        default = "database" if self.settings.get("WEBHOOK_SECRET") else "process"
        return str(self.settings.get("LOCK") or default)

    @property
    def free_storage(self) -> bool:
        """Whether the bot may keep its sessions here over HTTP."""
        return bool(self.settings.get("FREE_STORAGE"))

    @property
    def is_elsewhere(self) -> bool:
        """Whether the bot is no Python bot: it only keeps its sessions here."""
        declared = self.settings.get("SESSION") or self.settings.get("APPLICATION")
        return self.free_storage and not declared

    @property
    def webhook_secret(self) -> Secret | None:
        """What proves that a webhook's request is Telegram's; ``None`` for a bot without one."""
        return self._secret("WEBHOOK_SECRET")

    @property
    def allowed_updates(self) -> Sequence[str] | None:
        """The kinds of update that Telegram shall send; ``None`` is its default selection."""
        return self.settings.get("ALLOWED_UPDATES")

    def _secret(self, setting: str) -> Secret | None:
        found = self.settings.get(setting) or None
        if found is None or isinstance(found, Secret):
            return found
        raise ImproperlyConfigured(f"{self._where(setting)} is {type(found).__name__}, not text.")

    def _where(self, setting: str) -> str:
        return f"BOTSESSIONS['BOTS'][{self.alias!r}][{setting!r}]"

    def _imported(self, setting: str) -> Any:
        where = self._where(setting)
        path = self.settings.get(setting)
        if path is None:
            raise ImproperlyConfigured(f"{where} is missing: give the dotted path of the object.")
        if not isinstance(path, str):
            return path
        if path.startswith("."):
            raise ImproperlyConfigured(f"{where}: {path!r} is no dotted path.")
        try:
            return import_string(path)
        except ImportError as exc:
            raise ImproperlyConfigured(f"{where}: {exc}.") from exc
        except Exception as exc:  # Of the author's module.
            raise ImproperlyConfigured(f"{where}: {told(exc)}.") from exc


def all_bots() -> dict[str, Bot]:
    bots = app_settings().get("BOTS") or {}
    return {alias: Bot(alias, bot) for alias, bot in bots.items()}


def check_alias(argument: str, alias: Any) -> None:
    """Raise TypeError for what is no text, and ValueError for what no session is stored under."""
    check_text(argument, alias, "what the bot's sessions are stored under")
    if len(alias) > MAX_NAME_LENGTH:
        raise ValueError(f"{argument} must have at most {MAX_NAME_LENGTH} characters.")
    if alias != alias.strip() or "\0" in alias:
        raise ValueError(f"{argument} must neither begin nor end with a blank, nor hold a NUL.")


def get_bot(alias: str | None = None) -> Bot:
    """Return the bot of that alias; without one, the only bot there is.

    Bots that only keep their sessions here do not count, where there are others.

    Raises:
        ImproperlyConfigured: there is no such bot, or more than one to choose from.
        TypeError: the alias is no text.
    """
    if alias is not None and not isinstance(alias, str):
        wrong("The bot", alias, "an alias of BOTSESSIONS['BOTS'], as text")
    declared = app_settings().get("BOTS") or {}
    if alias is not None and alias in declared:
        return Bot(alias, declared[alias])
    known = ", ".join(map(repr, declared)) or "none"
    if alias is not None:
        raise ImproperlyConfigured(
            f"There is no bot {alias!r}: BOTSESSIONS['BOTS'] declares {known}."
        )
    bots = all_bots().values()
    here = [bot for bot in bots if not bot.is_elsewhere] or list(bots)
    if len(here) != 1:
        raise ImproperlyConfigured(f"Name a bot: BOTSESSIONS['BOTS'] declares {known}.")
    return here[0]
