"""A table as one would write it for a bot's data, for the programs that use Django's ORM alone."""

from __future__ import annotations

from django.db import DatabaseError, connection, models


class ChatData(models.Model):
    """What a bot remembers of a chat."""

    chat = models.BigIntegerField(primary_key=True)
    data = models.JSONField()

    class Meta:
        app_label = "benchmarks"

    def __str__(self) -> str:
        return str(self.chat)


def prepare() -> None:
    """Create the table, unless another process has, or does at the same moment."""
    try:
        if not exists():
            with connection.schema_editor() as editor:
                editor.create_model(ChatData)
    except DatabaseError:
        if not exists():
            raise
    finally:
        connection.close()


def exists() -> bool:
    return ChatData._meta.db_table in connection.introspection.table_names()


def counted() -> int:
    return sum(data["count"] for data in ChatData.objects.values_list("data", flat=True))
