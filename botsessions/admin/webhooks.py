"""How what Telegram says of the bots reads on the overview."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from django.utils.safestring import SafeString
from django.utils.translation import gettext

from ..figures.numbers import grouped
from ..figures.webhooks import Said
from ..logs import hide
from .moments import moment

PATIENCE_SECONDS = 5.0
"""So long a browser waits, beside the page, for what Telegram says."""


class Webhook(NamedTuple):
    """What Telegram says of a bot."""

    bot: str
    pending: str
    kind: str
    error: str
    when: SafeString | str
    """Of the error."""


def webhooks(said: Mapping[str, Said | None]) -> list[Webhook]:
    return [webhook(alias, one) for alias, one in said.items()]


def webhook(alias: str, said: Said | None) -> Webhook:
    if said is None:
        return Webhook(alias, "", gettext("Telegram has not answered yet."), "", "")
    if said.info is None:
        return Webhook(alias, "", gettext("Telegram does not say."), said.problem, moment(said.at))
    info = said.info
    kind = gettext("webhook") if info.webhook else gettext("no webhook, it has to poll")
    when = moment(info.last_error_at) if info.last_error_at else ""
    return Webhook(alias, grouped(info.pending_updates), kind, hide(info.last_error or ""), when)
