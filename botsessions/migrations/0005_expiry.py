from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("botsessions", "0004_lease"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="botsession",
            name="botsession_expiry",
        ),
        migrations.AddIndex(
            model_name="botsession",
            index=models.Index(fields=["expires_at", "id"], name="botsession_expiry"),
        ),
    ]
