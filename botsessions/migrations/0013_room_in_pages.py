from typing import Any

from django.db import migrations

TABLES = ("BotSession", "BotSessionLease", "HandledUpdate")
FULL_PERCENT = 80


def set_fullness(schema_editor: Any, apps: Any, setting: str) -> None:
    if schema_editor.connection.vendor == "postgresql":
        for name in TABLES:
            table = schema_editor.quote_name(apps.get_model("botsessions", name)._meta.db_table)
            schema_editor.execute(f"ALTER TABLE {table} {setting}")


def leave_room(apps: Any, schema_editor: Any) -> None:
    """Let PostgreSQL leave room in new pages, so that rows are updated where they are (HOT)."""
    set_fullness(schema_editor, apps, f"SET (fillfactor = {FULL_PERCENT})")


def fill(apps: Any, schema_editor: Any) -> None:
    set_fullness(schema_editor, apps, "RESET (fillfactor)")


class Migration(migrations.Migration):
    dependencies = [
        ("botsessions", "0012_history"),
    ]

    operations = [migrations.RunPython(leave_room, fill)]
