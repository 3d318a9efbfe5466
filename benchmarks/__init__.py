"""How fast it is, here and now, beside others: ``make bench``."""
