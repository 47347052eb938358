COMPILER: str
"""What compiled this build, with its version."""

def clock_ticks() -> int:
    """The counter that native timing uses: the time stamp counter on x86-64, nanoseconds elsewhere."""

def one_heap() -> bool:
    """Let all threads of this process take their memory from one heap, and large blocks from the system itself: what
    one of them frees is there for every other, and memory that is in use does not keep what is free around it.

    False where the C library knows nothing of that.  For whoever begins a process that runs for long: it cannot be
    taken back, and threads that have a heap of their own already keep it.
    """
