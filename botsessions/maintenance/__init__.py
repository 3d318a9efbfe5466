"""Work on many stored sessions at once, in batches, beside a busy bot."""

from .batches import BATCH_SIZE, Batch, Failure, Work
from .declared import declared, fragments_in, unlisted
from .migrating import Migrate
from .overdue import do_what_is_due
from .sweeping import Sweep
from .tables import tables
from .unused import forget_handled, forget_history, forget_incidents, forget_leases
from .versions import Versions, versions

__all__ = [
    "BATCH_SIZE",
    "Batch",
    "Failure",
    "Migrate",
    "Sweep",
    "Versions",
    "Work",
    "declared",
    "do_what_is_due",
    "forget_handled",
    "forget_history",
    "forget_incidents",
    "forget_leases",
    "fragments_in",
    "tables",
    "unlisted",
    "versions",
]
