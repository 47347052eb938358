"""The machine as compiled code sees it: its cycle counter, and the compiler that made this build."""

from native.machine cimport T1_COMPILER, ticks

COMPILER = T1_COMPILER.decode("ascii")


def clock_ticks() -> int:
    """The counter that native timing uses: the time stamp counter on x86-64, nanoseconds elsewhere."""
    return ticks()
