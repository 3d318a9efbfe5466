"""The demo site in the theme of django-unfold."""

from project.demo_settings import *  # noqa: F403
from project.demo_settings import INSTALLED_APPS

INSTALLED_APPS = ["unfold", *INSTALLED_APPS]
