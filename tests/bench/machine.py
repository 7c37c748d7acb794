"""What this machine is, and its memory made ready to be measured."""

import mmap
import os
import re
import sys


def processor():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return "unknown processor"


def touch_memory(size=6 << 30):
    """Makes the host back free memory that it has taken from this guest.

    Otherwise whoever writes first pays seconds for it, be it `cp` or quantd. In
    a process of its own: what is started from here inherits the peak.
    """
    with open("/proc/meminfo") as file:
        available = int(re.search(r"MemAvailable:\s+(\d+)", file.read())[1]) << 10
    child = os.fork()
    if child == 0:
        size = min(size, available // 2)
        piece = b"\1" * (1 << 24)
        with mmap.mmap(-1, size) as memory:
            for offset in range(0, size - len(piece), len(piece)):
                memory[offset:offset + len(piece)] = piece
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit("can't touch %d bytes of memory" % size)
