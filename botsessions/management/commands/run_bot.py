from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from botsessions.bots import Bot, all_bots, get_bot
from botsessions.logs import tokens_hidden
from botsessions.management.process import on_signal, run_reloading, tune
from botsessions.ptb.polling import Polling


class Command(BaseCommand):
    help = "Run bots: poll Telegram and let their applications handle what comes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "aliases",
            nargs="*",
            metavar="alias",
            help="A bot's alias in BOTSESSIONS['BOTS']. Without one: all bots that have a TOKEN "
            "and no WEBHOOK_SECRET.",
        )
        parser.add_argument(
            "--delete-webhook",
            action="store_true",
            help="Poll even if a webhook is set, which Telegram then forgets.",
        )
        parser.add_argument(
            "--noreload",
            action="store_false",
            dest="reload",
            help="Do not start anew when the code changes. With DEBUG=False it never does.",
        )

    def handle(
        self, *, aliases: Sequence[str], reload: bool, verbosity: int, **options: Any
    ) -> None:
        self.verbosity = verbosity
        try:
            polling = Polling(
                chosen(aliases),
                self.started,
                self.failed,
                self.stopping,
                delete_webhooks=options["delete_webhook"],
            )
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
        with tokens_hidden():
            if reload and settings.DEBUG:
                went_well = run_reloading(polling.run, polling.stop)
            else:
                with on_signal(polling.stop):
                    went_well = polling.run()
        if not went_well:
            raise CommandError("Not every bot ran: see above.")

    def started(self, bot: Bot, username: str) -> None:
        tune()
        self.say(f"{bot.alias}: @{username} polls Telegram.")

    def failed(self, bot: Bot, reason: str) -> None:
        self.stderr.write(f"{bot.alias}: {reason}")

    def stopping(self) -> None:
        self.say("Stopping when what has begun is finished; a second signal ends it at once.")

    def say(self, line: str) -> None:
        if self.verbosity:
            self.stdout.write(line)
            self.stdout.flush()


def chosen(aliases: Sequence[str]) -> list[Bot]:
    """Return the bots that are to run.

    Raises:
        ImproperlyConfigured: there is none, or one of those that were named has no token.
    """
    if aliases:
        bots = [get_bot(alias) for alias in dict.fromkeys(aliases)]
        if tokenless := [bot for bot in bots if not bot.token]:
            raise ImproperlyConfigured(missing_token(tokenless))
        return bots
    declared = all_bots().values()
    if not declared:
        raise ImproperlyConfigured("BOTSESSIONS['BOTS'] declares no bot.")
    here = [bot for bot in declared if not bot.is_elsewhere]
    if not here:
        raise ImproperlyConfigured(
            "BOTSESSIONS['BOTS'] declares no bot with an APPLICATION: all of them run elsewhere."
        )
    polled = [bot for bot in here if not bot.webhook_secret]
    if not polled:
        raise ImproperlyConfigured(
            "BOTSESSIONS['BOTS'] declares no bot without a WEBHOOK_SECRET. One that has it can be "
            "named, to poll while no webhook is set."
        )
    bots = [bot for bot in polled if bot.token]
    if not bots:
        raise ImproperlyConfigured(missing_token(polled))
    return bots


def missing_token(bots: Sequence[Bot]) -> str:
    settings = " or ".join(f"BOTSESSIONS['BOTS'][{bot.alias!r}]['TOKEN']" for bot in bots)
    return f"There is no token: set {settings} to the one that @BotFather gave you."
