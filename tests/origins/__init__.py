"""Bots that store sessions by other libraries."""
