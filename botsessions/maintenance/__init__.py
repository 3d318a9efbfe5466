"""Work on many stored sessions at once, in batches, beside a busy bot."""

from .batches import BATCH_SIZE, Batch, Failure
from .declared import declared
from .sweeping import Sweep
from .tables import tables

__all__ = ["BATCH_SIZE", "Batch", "Failure", "Sweep", "declared", "tables"]
