"""How the last runs of commands read on the overview."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..figures.numbers import grouped
from ..figures.runs import Run
from .moments import moment

WORKS = {"sweep": _("Last sweep"), "migrate": _("Last migration")}
OUTCOMES = {
    "done": _("Done"),
    "early": _("Ended early"),
    "failed": _("Failed"),
    "running": _("Running"),
    "killed": _("Killed"),
}


class Done(NamedTuple):
    """The last run of a command."""

    title: str | Promise
    outcome: str | Promise
    is_bad: bool
    when: SafeString | str
    text: str


def last_run(work: str, run: Run | None) -> Done:
    if run is None:
        return Done(WORKS[work], gettext("Never noted"), False, "", "")
    counts = gettext("{done} done, {left} left as they were, in {seconds} s").format(
        done=grouped(run.done), left=grouped(run.left), seconds=f"{run.seconds:.1f}"
    )
    only = gettext("only {what}").format(what=run.only) if run.only else ""
    text = " · ".join(filter(None, [counts, only, run.reason]))
    is_bad = not run.went_well
    return Done(WORKS[work], OUTCOMES[run.outcome], is_bad, moment(run.started_at), text)
