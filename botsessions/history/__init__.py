"""What stored sessions have been: for people who want to see it, compare it, and have it back.

``DatabaseStorage(history=20)`` keeps versions itself, see :mod:`.database.history`. Without that,
what people change by hand is kept for a while as it was, so that they can undo it.
"""

from .keeping import KEPT_FOR, kept
from .past import Past, all_that_is_kept, past_of, with_maker

__all__ = ["KEPT_FOR", "Past", "all_that_is_kept", "kept", "past_of", "with_maker"]
