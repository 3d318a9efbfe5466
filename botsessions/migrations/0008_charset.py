from typing import Any

from django.db import migrations

import botsessions.models


class AlterOnMySQL(migrations.AlterField):
    """Changes columns where a database may have another character set; others have but one."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if schema_editor.connection.vendor == "mysql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Leave the columns: what is in them by then would not fit."""


class Migration(migrations.Migration):
    dependencies = [
        ("botsessions", "0007_sizes"),
    ]

    operations = [
        AlterOnMySQL(
            model_name="botsession",
            name="chat_type",
            field=botsessions.models.ExactCharField(
                blank=True, default="", max_length=16, verbose_name="chat type"
            ),
        ),
        AlterOnMySQL(
            model_name="botsession",
            name="title",
            field=botsessions.models.ExactCharField(
                blank=True,
                default="",
                help_text="The chat's title or the user's name, as last seen.",
                max_length=255,
                verbose_name="title",
            ),
        ),
        AlterOnMySQL(
            model_name="maintenancerun",
            name="only",
            field=botsessions.models.ExactCharField(
                blank=True, default="", max_length=129, verbose_name="only"
            ),
        ),
        AlterOnMySQL(
            model_name="maintenancerun",
            name="reason",
            field=botsessions.models.ExactCharField(
                blank=True, default="", max_length=100, verbose_name="reason"
            ),
        ),
    ]
