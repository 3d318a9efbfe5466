"""Bots that tests run in processes of their own, with settings from the environment."""
