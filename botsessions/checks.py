"""``manage.py check``: what is wrong with ``settings.BOTSESSIONS``."""
