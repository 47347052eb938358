from typing import Self, TypeAlias

from typing_extensions import disjoint_base

_Ranges: TypeAlias = list[tuple[int, int]]

@disjoint_base
class Steerer:
    """Which of ``workers`` workers a packet belongs to.

    ``touched`` are the ranges of addresses that NAT reads or writes, of IPv4 and of IPv6, as (first, last), sorted and
    disjoint.  Raises ValueError for a number of workers that cannot be, MemoryError.
    """

    def __new__(cls, workers: int, touched: tuple[_Ranges, _Ranges], seed: int) -> Self: ...
    @property
    def workers(self) -> int:
        """How many there are."""

    def owner(self, frame: bytes, unsegmented: bool = False) -> int:
        """The worker that an Ethernet frame belongs to; 0 for what is no IP packet.  Raises MemoryError."""
