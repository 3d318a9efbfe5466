"""Servers and clients of grammY's free storage, for the tests."""
