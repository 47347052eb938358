COMPILER: str
"""What compiled this build, with its version."""

def clock_ticks() -> int:
    """The counter that native timing uses: the time stamp counter on x86-64, nanoseconds elsewhere."""
