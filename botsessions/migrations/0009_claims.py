from django.db import migrations, models

import botsessions.models


class Migration(migrations.Migration):
    """Have times on the database's clock. What was handled before is forgotten."""

    dependencies = [("botsessions", "0008_charset")]

    operations = [
        migrations.DeleteModel("HandledUpdate"),
        migrations.CreateModel(
            name="HandledUpdate",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("bot", botsessions.models.ExactCharField(max_length=64, verbose_name="bot")),
                ("update_id", models.BigIntegerField(verbose_name="update id")),
                (
                    "claim",
                    models.BigIntegerField(
                        help_text="Of whoever handles it.", verbose_name="claim"
                    ),
                ),
                ("claimed_until", models.BigIntegerField(verbose_name="claimed until")),
                (
                    "handled_at",
                    models.BigIntegerField(blank=True, null=True, verbose_name="handled"),
                ),
            ],
            options={
                "verbose_name": "handled update",
                "verbose_name_plural": "handled updates",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("bot", "update_id"), name="handledupdate_update"
                    )
                ],
            },
        ),
    ]
