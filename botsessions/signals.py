"""Signals that tell a project what has become of a session.

The sender is the class of the storage. Receivers may be ``async`` or not.
"""

from __future__ import annotations

from django.dispatch import Signal

session_expired = Signal()
"""A session has timed out: ``bot``, ``name`` (of the fragment), ``key``, and ``data`` as stored.

Sent at least once for each, before it is gone for good.
"""

session_conflict = Signal()
"""A change was refused, because somebody else had changed the session or got its key meanwhile:
``bot``, ``name`` (of the fragment), ``key``, and ``revision``, the one that was read.

It is sent besides the ``SessionConflict`` that whoever made the change gets.
"""
