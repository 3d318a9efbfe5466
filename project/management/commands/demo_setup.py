import os
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandParser

from project.samples import make_many, make_samples

NAME = WORD = "admin"


class Command(BaseCommand):
    help = "Make the demo's superuser and some sessions, if they are missing, and say where to go."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sessions", type=int, default=0, help="Make up so many in all.")

    def handle(self, **options: Any) -> None:
        make_samples()
        make_many(options["sessions"])
        site = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
        self.stdout.write(f"Chat with the bot:  {site}/")
        self.stdout.write(f"See its sessions:   {site}/admin/  ({self.login()})")

    def login(self) -> str:
        user = User.objects.filter(username=NAME).first()
        if user is None and not settings.DEBUG:
            return "make yourself a login with manage.py createsuperuser"
        if user is None:
            user = User.objects.create_superuser(NAME, password=WORD)
        if user.check_password(WORD):
            return f"log in as {NAME}, password {WORD}"
        return f"log in as {NAME}, with the password that you gave it"
