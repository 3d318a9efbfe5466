"""Sessions in Django's databases: what is asked at the same moment goes together."""
