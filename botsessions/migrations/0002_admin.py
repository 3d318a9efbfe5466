from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("botsessions", "0001_initial"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="botsession",
            options={
                "default_permissions": ("view", "view_contents", "change", "delete", "export"),
                "verbose_name": "session",
                "verbose_name_plural": "sessions",
            },
        ),
        migrations.RemoveConstraint(
            model_name="botsession",
            name="botsession_address",
        ),
        migrations.RemoveIndex(
            model_name="botsession",
            name="botsession_title",
        ),
        migrations.AddIndex(
            model_name="botsession",
            index=models.Index(fields=["bot", "id"], name="botsession_bot"),
        ),
        migrations.AddIndex(
            model_name="botsession",
            index=models.Index(
                fields=["title"], name="botsession_title", opclasses=["varchar_pattern_ops"]
            ),
        ),
        migrations.AddIndex(
            model_name="botsession",
            index=models.Index(fields=["bot", "version", "name"], name="botsession_version"),
        ),
        migrations.AddConstraint(
            model_name="botsession",
            constraint=models.UniqueConstraint(
                fields=("key", "bot", "name"),
                name="botsession_address",
                opclasses=["varchar_pattern_ops", "varchar_ops", "varchar_ops"],
            ),
        ),
    ]
