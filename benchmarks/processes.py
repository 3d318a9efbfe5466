"""What running processes use, by their ids."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path


def memory(pid: int) -> float:
    """Return how much memory a process has, resident, in MB; 0 when it has ended."""
    with suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6
    return 0.0


def cpu_seconds(pid: int) -> float:
    """Return how much of the processors' time a process has used; 0 when it has ended."""
    with suppress(OSError):
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
    return 0.0
