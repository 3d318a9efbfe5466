"""The tables: sessions, and beside them what webhooks and commands have done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .records import (
    MAX_BY_LENGTH,
    MAX_KEY_LENGTH,
    MAX_NAME_LENGTH,
    MAX_TITLE_LENGTH,
    new_revision,
)

if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
    _TextField = models.TextField[str, str]
else:  # Subscriptable for type checkers only.
    _CharField, _TextField = models.CharField, models.TextField


MIN_CLASS, MAX_CLASS = 7, 24
"""Sessions of less than 128 bytes are of one class, and those of more than 16 MiB."""


MAX_ERROR_LENGTH = 100
MAX_MESSAGE_LENGTH = 300

COLLATION = "utf8mb4_bin"


class ExactCharField(_CharField):
    """Text of any script that equals nothing but itself.

    On MariaDB and MySQL case and accents count, too, and emoji can be stored, whatever the
    database's character set. ``db_collation`` cannot say that for several kinds of database.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = COLLATION
        return parameters


class ExactTextField(_TextField):
    """Longer text, of any script, too."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = COLLATION
        return parameters


class AbstractBotSession(models.Model):
    """Base for a table of sessions of your own; name it in ``DatabaseStorage(model=…)``."""

    bot = ExactCharField(_("bot"), max_length=MAX_NAME_LENGTH)
    name = ExactCharField(_("fragment"), max_length=MAX_NAME_LENGTH, blank=True, default="")
    key = ExactCharField(_("session key"), max_length=MAX_KEY_LENGTH)

    data = models.JSONField(_("data"))
    version = models.DecimalField(
        _("version"), max_digits=15, decimal_places=6, null=True, blank=True
    )
    revision = models.BigIntegerField(_("revision"), default=new_revision, editable=False)
    size = models.PositiveIntegerField(
        _("size"), default=0, editable=False, help_text=_("In bytes.")
    )
    # What an index of the sizes would take from PostgreSQL, this leaves: it changes seldom.
    size_class = models.GeneratedField(
        expression=models.Case(
            *(models.When(size__gte=2**n, then=n) for n in range(MAX_CLASS, MIN_CLASS - 1, -1)),
            default=0,
        ),
        output_field=models.SmallIntegerField(),
        db_persist=True,
        verbose_name=_("size class"),
        help_text=_("The binary logarithm of the size."),
    )

    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    updated_at = models.DateTimeField(_("changed"), default=timezone.now, editable=False)

    chat_id = models.BigIntegerField(_("chat id"), null=True, blank=True)
    user_id = models.BigIntegerField(_("user id"), null=True, blank=True)
    chat_type = ExactCharField(_("chat type"), max_length=16, blank=True, default="")
    title = ExactCharField(
        _("title"),
        max_length=MAX_TITLE_LENGTH,
        blank=True,
        default="",
        help_text=_("The chat's title or the user's name, as last seen."),
    )

    class Meta:
        abstract = True
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        default_permissions = ("view", "view_contents", "change", "delete", "export")
        # No index on updated_at: it would end PostgreSQL's heap-only updates.
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["key", "bot", "name"],  # The key first: people search by its beginning.
                opclasses=["varchar_pattern_ops", "varchar_ops", "varchar_ops"],
                name="%(class)s_address",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["chat_id"], name="%(class)s_chat"),
            models.Index(fields=["user_id"], name="%(class)s_user"),
            # PostgreSQL finds beginnings by these operators only; other databases ignore them.
            models.Index(
                fields=["title"], opclasses=["varchar_pattern_ops"], name="%(class)s_title"
            ),
            models.Index(fields=["expires_at", "id"], name="%(class)s_expiry"),
            models.Index(fields=["bot", "id"], name="%(class)s_bot"),
            models.Index(fields=["created_at", "id"], name="%(class)s_created"),
            models.Index(fields=["size_class", "id"], name="%(class)s_size"),
            models.Index(fields=["bot", "version", "name"], name="%(class)s_version"),
        ]

    def __str__(self) -> str:
        return f"{self.bot}:{self.name}:{self.key}" if self.name else f"{self.bot}:{self.key}"


class BotSession(AbstractBotSession):
    """A session of a bot."""

    class Meta(AbstractBotSession.Meta):
        abstract = False


class HistoryEntry(models.Model):
    """A session as it was once. Rows are written by ``database.history`` alone."""

    table = ExactCharField(_("table"), max_length=128)
    session_id = models.BigIntegerField(_("session"))
    """The primary key there. No foreign key: there may be several tables of sessions."""
    revision = models.BigIntegerField(_("revision"))
    data = ExactTextField(_("data"))
    """As it was stored: the database need not look into it."""
    version = models.DecimalField(_("version"), max_digits=15, decimal_places=6, null=True)
    size = models.PositiveIntegerField(_("size"))
    expires_at = models.DateTimeField(_("expires"), null=True)
    at = models.DateTimeField(_("changed"))
    by = ExactCharField(_("by"), max_length=MAX_BY_LENGTH, blank=True, default="")
    """Who made it so, like ``update:7``; empty for code that does not say."""
    kept_until = models.DateTimeField(_("kept until"), null=True)
    """Set where no history is kept: somebody was about to change the session by hand."""

    class Meta:
        verbose_name = _("past session")
        verbose_name_plural = _("past sessions")
        default_permissions = ()
        # No further index: each would be written at every save.
        indexes: ClassVar = [
            models.Index(fields=["session_id", "id"], name="botsessions_history_session"),
        ]

    def __str__(self) -> str:
        return f"{self.table}:{self.session_id}@{self.revision}"


class HandledUpdate(models.Model):
    """An update that came by webhook, claimed by the process that handles it, then handled.

    Rows are written by ``database.claims_table`` alone. Times are milliseconds since 1970 on the
    database's clock. A process renews its claims; those of a dead one lapse.
    """

    bot = ExactCharField(_("bot"), max_length=MAX_NAME_LENGTH)
    update_id = models.BigIntegerField(_("update id"))
    claim = models.BigIntegerField(_("claim"), help_text=_("Of whoever handles it."))
    claimed_until = models.BigIntegerField(_("claimed until"))
    handled_at = models.BigIntegerField(_("handled"), null=True, blank=True)

    class Meta:
        verbose_name = _("handled update")
        verbose_name_plural = _("handled updates")
        # No further index: each would be written at every update.
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["bot", "update_id"], name="handledupdate_update"),
        ]

    def __str__(self) -> str:
        return f"{self.bot}:{self.update_id}"


class BotSessionLease(models.Model):
    """Who may run for a session key, with ``LOCK="database"``.

    Rows are written by ``database.leases_table`` alone. Times are milliseconds since 1970 on the
    database's clock.
    """

    id = models.BigIntegerField(primary_key=True)
    """The key; see ``lease_key()``."""
    holder = models.BigIntegerField()
    ends_at = models.BigIntegerField()
    drawn = models.BigIntegerField()
    """The last number that somebody has drawn who wants the key,"""
    served = models.BigIntegerField()
    """and the last one whose turn it was."""
    passed = models.BigIntegerField()
    """How many have been let through since."""
    held_since = models.BigIntegerField(db_default=0)
    """When the holder took the key; for people."""

    class Meta:
        # No further index: it would end PostgreSQL's heap-only updates.
        verbose_name = _("lease")
        verbose_name_plural = _("leases")

    def __str__(self) -> str:
        return str(self.id)


class MaintenanceRun(models.Model):
    """What a command has done to stored sessions, and when: for people who ask whether it runs."""

    class Outcome(models.TextChoices):
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        EARLY = "early", _("Ended early")
        FAILED = "failed", _("Failed")

    work = models.CharField(_("work"), max_length=16)
    only = ExactCharField(_("only"), max_length=MAX_NAME_LENGTH * 2 + 1, blank=True, default="")
    """The bot and the fragment that it was for, if not for all."""
    outcome = models.CharField(
        _("outcome"), max_length=8, choices=Outcome.choices, default=Outcome.RUNNING
    )
    reason = ExactCharField(_("reason"), max_length=100, blank=True, default="")
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    seen_at = models.DateTimeField(_("last seen"), default=timezone.now)
    """When it ended; while it runs, when it last said so."""
    done = models.BigIntegerField(_("done"), default=0)
    left = models.BigIntegerField(_("left as they were"), default=0)

    class Meta:
        verbose_name = _("maintenance run")
        verbose_name_plural = _("maintenance runs")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.work}, {self.outcome}"


class Incident(models.Model):
    """What went wrong with a session: never what it holds. See :mod:`.incidents`."""

    class Kind(models.TextChoices):
        LOAD = "load", _("Failed load")
        SAVE = "save", _("Failed save")
        CONFLICT = "conflict", _("Conflict")
        LOCK = "lock", _("Lock timeout")
        DATA = "data", _("Refused data")

    bot = ExactCharField(_("bot"), max_length=MAX_NAME_LENGTH)
    name = ExactCharField(_("fragment"), max_length=MAX_NAME_LENGTH, blank=True, default="")
    key = ExactCharField(_("session key"), max_length=MAX_KEY_LENGTH, blank=True, default="")
    """Empty where none was found, and for sessions that nobody had room to tell apart."""
    chat_id = models.BigIntegerField(_("chat id"), null=True, blank=True)
    user_id = models.BigIntegerField(_("user id"), null=True, blank=True)
    kind = models.CharField(_("kind"), max_length=8, choices=Kind.choices)
    error = ExactCharField(_("error"), max_length=MAX_ERROR_LENGTH, blank=True, default="")
    """The exception's class."""
    message = ExactCharField(_("message"), max_length=MAX_MESSAGE_LENGTH, blank=True, default="")
    """Ours; those of others might hold values."""
    by = ExactCharField(_("by"), max_length=MAX_BY_LENGTH, blank=True, default="")
    """Whose work failed last, like ``update:7``."""
    count = models.PositiveIntegerField(_("count"), default=1)
    first_at = models.DateTimeField(_("first"), default=timezone.now)
    last_at = models.DateTimeField(_("last"), default=timezone.now)

    class Meta:
        verbose_name = _("incident")
        verbose_name_plural = _("incidents")
        default_permissions = ("view",)
        indexes: ClassVar = [
            models.Index(fields=["key", "bot", "name"], name="botsessions_incident_address"),
            models.Index(fields=["last_at"], name="botsessions_incident_last"),
        ]

    def __str__(self) -> str:
        where = ":".join(filter(None, (self.bot, self.name, self.key)))
        return f"{where}: {self.kind}"
