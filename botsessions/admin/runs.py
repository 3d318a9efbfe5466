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
from .plain import visible

WORKS = {
    "sweep": _("Last sweep"),
    "migrate": _("Last migration"),
    "import": _("Last import"),
    "rename": _("Last renaming"),
    "rekey": _("Last change of keys"),
}
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
    """Return how a run reads. What only newer code knows has the name that stands in the table."""
    title = WORKS.get(work) or gettext("Last run of {work}").format(work=work)
    if run is None:
        return Done(title, gettext("Never noted"), False, "", "")
    counts = gettext("{done} done, {left} left as they were, in {seconds} s").format(
        done=grouped(run.done), left=grouped(run.left), seconds=f"{run.seconds:.1f}"
    )
    only = gettext("only {what}").format(what=visible(run.only)) if run.only else ""
    text = " · ".join(filter(None, [counts, only, run.reason]))
    outcome = OUTCOMES.get(run.outcome, run.outcome)
    return Done(title, outcome, not run.went_well, moment(run.started_at), text)
