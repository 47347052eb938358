"""TCP windows of the readable edge: which segments pass, which are dropped, and which are questioned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.packets import build_frame, parse_packet
from edge.reference_window import Fit, Segment, Windows, offered_scale, reach_of
from edge.verdicts import Outcome
from tests.model.frames import frame, tcp
from tests.reference_bench import Bench, left, stages, why
from tests.support import acme, default_rule, nat, with_options

FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16}
SLACK = 67035


def segment(text: str) -> tuple[int, Segment]:
    """``> PA seq=1001 ack=5001 win=1000 len=10 scale=7``: who sends (> the originator), flags, and numbers."""
    way, flags, *numbers = text.split()
    given = {key: int(value) % 2**32 for key, value in (item.split("=") for item in numbers)}
    bits = 0 if flags == "." else sum(FLAGS[letter] for letter in flags)
    seq, ack = given.pop("seq", 0), given.pop("ack", 0)
    found = Segment(seq, ack, bits, given.pop("win", 1000), given.pop("len", 0), given.pop("scale", None))
    assert not given
    return (0 if way == ">" else 1), found


def after(*texts: str) -> Windows:
    """Windows when all of these went through."""
    windows = Windows(segment(texts[0])[1])
    for text in texts[1:]:
        me, next_segment = segment(text)
        assert windows.judge(me, next_segment) is Fit.INSIDE, text
        windows.advance(me, next_segment)
    return windows


def judge(windows: Windows, text: str, *, finished: bool = False) -> Fit:
    return windows.judge(*segment(text), finished=finished)


SYN = "> S seq=1000 win=1000"
HANDSHAKE = (SYN, "< SA seq=5000 ack=1001 win=2000", "> A seq=1001 ack=5001 win=1000")
SCALED = (
    "> S seq=1000 win=1000 scale=7",
    "< SA seq=5000 ack=1001 win=2000 scale=3",
    "> A seq=1001 ack=5001 win=1000",
    "< A seq=5001 ack=1001 win=2000",
)


LARGEST = (
    "> S seq=1000 win=65535 scale=14",
    "< SA seq=5000 ack=1001 win=65535 scale=14",
    "> A seq=1001 ack=5001 win=65535",
    "< A seq=5001 ack=1001 win=65535",
)
ROUNDED = ("> S seq=1000 win=1 scale=14", "< SA seq=5000 ack=1001 win=1001 scale=5")
FAST_OPEN = ("> S seq=1000 win=1000 len=100",)
FULL = "< A seq=5001 ack=1001 len=500"
IN_FLIGHT = (*HANDSHAKE, "> A seq=1001 ack=5001 len=300", "< A seq=5001 ack=1101 win=2000")
LOST = (*IN_FLIGHT, "< A seq=5001 ack=1201 win=100")


@pytest.mark.parametrize(
    ("text", "fit"),
    [
        ("< SA seq=5000 ack=1001", Fit.INSIDE),
        ("< SA seq=5000 ack=1000", Fit.STALE),
        ("< SA seq=5000 ack=1002", Fit.STALE),
        ("< A seq=5000 ack=1002", Fit.STALE),
        ("< FA seq=5000 ack=1002", Fit.STALE),
        ("< A seq=5000 ack=1001", Fit.INSIDE),
        ("< FA seq=5000 ack=1001", Fit.INSIDE),
        ("< S seq=5000", Fit.INSIDE),  # both open at once
        ("< RA seq=0 ack=1001", Fit.INSIDE),  # refused
        ("< RA seq=0 ack=1000", Fit.OUTSIDE),
        ("< RA seq=0 ack=1002", Fit.OUTSIDE),
        ("< R seq=1001", Fit.OUTSIDE),
        ("> S seq=1000", Fit.INSIDE),  # sent again
        ("> S seq=999", Fit.INSIDE),  # and again, with another number
        ("> S seq=7000000", Fit.INSIDE),
        ("> R seq=1001", Fit.INSIDE),
        ("> RA seq=1001 ack=77", Fit.INSIDE),
        ("> R seq=1000", Fit.OUTSIDE),
        ("> R seq=1002", Fit.OUTSIDE),
        ("> A seq=1000 ack=1", Fit.INSIDE),
        ("> A seq=999 ack=1", Fit.OUTSIDE),
        ("> A seq=66536 ack=1", Fit.INSIDE),
        ("> FA seq=66536 ack=1", Fit.OUTSIDE),
        ("> FA seq=1001 ack=1", Fit.INSIDE),  # given up; there is nothing to compare its number with
        ("> A seq=66537 ack=1", Fit.OUTSIDE),
    ],
)
def test_before_the_responder_has_spoken(text: str, fit: Fit) -> None:
    assert judge(after(SYN), text) is fit


@pytest.mark.parametrize(
    ("text", "fit"),
    [
        ("> PA seq=1001 ack=5001 len=2000", Fit.INSIDE),  # all that the other end can take
        ("> PA seq=1001 ack=5001 len=2001", Fit.OUTSIDE),
        ("> FA seq=1001 ack=5001 len=1999", Fit.INSIDE),
        ("> FA seq=1001 ack=5001 len=2000", Fit.OUTSIDE),  # FIN has a number of its own
        ("> A seq=3001 ack=5001", Fit.INSIDE),
        ("> A seq=3002 ack=5001", Fit.OUTSIDE),
        ("> A seq=1000 ack=5001", Fit.INSIDE),  # keep-alive
        ("> A seq=-1047 ack=5001 len=10", Fit.INSIDE),  # sent again, one window back: 2,000 bytes are 2,048
        ("> A seq=-1048 ack=5001 len=10", Fit.OUTSIDE),
        ("< A seq=3977 ack=1001", Fit.INSIDE),  # and 1,000 are 1,024
        ("< A seq=3976 ack=1001", Fit.OUTSIDE),
        (f"> A seq=1001 ack={5001 + SLACK}", Fit.INSIDE),
        (f"> A seq=1001 ack={5002 + SLACK}", Fit.OUTSIDE),
        (f"> A seq=1001 ack={5001 - SLACK}", Fit.INSIDE),
        (f"> A seq=1001 ack={5000 - SLACK}", Fit.OUTSIDE),
        ("> R seq=1001", Fit.INSIDE),  # resets are exact (RFC 5961 3)
        ("> RA seq=1001 ack=5001", Fit.INSIDE),
        ("> RA seq=1001 ack=900000", Fit.INSIDE),  # and what they acknowledge is not looked at
        ("> R seq=1002", Fit.DOUBTFUL),
        ("> R seq=3001", Fit.DOUBTFUL),
        ("> RA seq=3001 ack=900000", Fit.DOUBTFUL),
        ("> R seq=3002", Fit.OUTSIDE),
        ("> R seq=1000", Fit.OUTSIDE),
        ("< PA seq=5001 ack=1001 len=1000", Fit.INSIDE),
        ("< PA seq=5001 ack=1001 len=1001", Fit.OUTSIDE),
    ],
)
def test_behind_the_handshake(text: str, fit: Fit) -> None:
    assert judge(after(*HANDSHAKE), text) is fit


@pytest.mark.parametrize(
    ("story", "text", "fit"),
    [
        # An acknowledgement opens the window for what comes next, and a smaller one does not close it again.
        ((*HANDSHAKE, "< A seq=5001 ack=1501 win=2000"), "> A seq=1001 ack=5001 len=2500", Fit.INSIDE),
        ((*HANDSHAKE, "< A seq=5001 ack=1001 win=10"), "> A seq=1001 ack=5001 len=2000", Fit.INSIDE),
        # A window of zero lets one byte through, to probe.
        ((SYN, "< SA seq=5000 ack=1001 win=0"), "> A seq=1001 ack=5001 len=1", Fit.INSIDE),
        ((SYN, "< SA seq=5000 ack=1001 win=0"), "> A seq=1001 ack=5001 len=2", Fit.OUTSIDE),
        # Windows are shifted when both ends offered to, that of a SYN never is.
        (SCALED, f"> A seq=1001 ack=5001 len={2000 << 3}", Fit.INSIDE),
        (SCALED, f"> A seq=1001 ack=5001 len={(2000 << 3) + 1}", Fit.OUTSIDE),
        (SCALED, f"< A seq=5001 ack=1001 len={1000 << 7}", Fit.INSIDE),
        (SCALED, f"< A seq=5001 ack=1001 len={(1000 << 7) + 1}", Fit.OUTSIDE),
        (SCALED[:2], "> A seq=1001 ack=5001 len=2000", Fit.INSIDE),
        (SCALED[:2], "> A seq=1001 ack=5001 len=2001", Fit.OUTSIDE),
        (SCALED, f"> A seq={1001 - 2**14} ack=5001", Fit.INSIDE),  # 16,000 bytes are 16,384
        (SCALED, f"> A seq={1000 - 2**14} ack=5001", Fit.OUTSIDE),
        (SCALED, f"> A seq=1001 ack={5001 - (SLACK << 7)}", Fit.INSIDE),
        (SCALED, f"> A seq=1001 ack={5000 - (SLACK << 7)}", Fit.OUTSIDE),
        ((*HANDSHAKE[:1], "< SA seq=5000 ack=1001 win=2000 scale=3"), "> A seq=1001 ack=5001 len=2001", Fit.OUTSIDE),
        # Both open at once.
        ((SYN, "< S seq=5000 win=2000"), "> SA seq=1000 ack=5001", Fit.INSIDE),
        ((SYN, "< S seq=5000 win=2000", "> SA seq=1000 ack=5001"), "< SA seq=5000 ack=1001", Fit.INSIDE),
        # Numbers wrap around.
        (
            ("> S seq=-1 win=1000", "< SA seq=-100 ack=0 win=2000", "> A seq=0 ack=-99 win=1000"),
            "< A seq=-99 ack=0 len=1000",
            Fit.INSIDE,
        ),
        (
            ("> S seq=-1 win=1000", "< SA seq=-100 ack=0 win=2000", "> A seq=0 ack=-99 win=1000"),
            "< A seq=-99 ack=0 len=1001",
            Fit.OUTSIDE,
        ),
        # What was sent moves the place for a reset.
        ((*HANDSHAKE, "> A seq=1001 ack=5001 len=100"), "> R seq=1101", Fit.INSIDE),
        ((*HANDSHAKE, "> A seq=1001 ack=5001 len=100", "> A seq=1001 ack=5001 len=50"), "> R seq=1101", Fit.INSIDE),
        # What a side has advertised shows how far back it may be talked to; it never forgets that.
        ((SYN, "< SA seq=5000 ack=1001 win=0"), "> A seq=1000 ack=5001", Fit.INSIDE),
        ((SYN, "< SA seq=5000 ack=1001 win=0"), "> A seq=999 ack=5001", Fit.OUTSIDE),
        ((*HANDSHAKE, "< A seq=5001 ack=1001 win=2048"), "> A seq=-1047 ack=5001", Fit.INSIDE),
        ((*HANDSHAKE, "< A seq=5001 ack=1001 win=2048"), "> A seq=-1048 ack=5001", Fit.OUTSIDE),
        ((*HANDSHAKE, "< A seq=5001 ack=1001 win=2049"), "> A seq=-3095 ack=5001", Fit.INSIDE),
        ((*HANDSHAKE, "< A seq=5001 ack=1001 win=2049"), "> A seq=-3096 ack=5001", Fit.OUTSIDE),
        ((*HANDSHAKE, "< A seq=5001 ack=1001 win=0"), "> A seq=-1047 ack=5001", Fit.INSIDE),
        (LARGEST, f"> A seq={1001 - 2**30} ack=5001", Fit.INSIDE),
        (LARGEST, f"> A seq={1000 - 2**30} ack=5001", Fit.OUTSIDE),
        (LARGEST, f"> A seq={1001 + (65535 << 14)} ack=5001", Fit.INSIDE),
        (LARGEST, f"> A seq={1002 + (65535 << 14)} ack=5001", Fit.OUTSIDE),
        # The window of a SYN counts in whole units of what will be its scale.
        (ROUNDED, "> A seq=1001 ack=5001 len=1024", Fit.INSIDE),
        (ROUNDED, "> A seq=1001 ack=5001 len=1025", Fit.OUTSIDE),
        (ROUNDED, "< A seq=5001 ack=1001 len=16384", Fit.INSIDE),
        (ROUNDED, "< A seq=5001 ack=1001 len=16385", Fit.OUTSIDE),
        # Data with a SYN may be acknowledged in part, and sent again (RFC 7413).
        (FAST_OPEN, "< SA seq=5000 ack=1101", Fit.INSIDE),
        (FAST_OPEN, "< SA seq=5000 ack=1001", Fit.INSIDE),
        (FAST_OPEN, "< SA seq=5000 ack=1050", Fit.INSIDE),
        (FAST_OPEN, "< SA seq=5000 ack=1000", Fit.STALE),
        (FAST_OPEN, "< SA seq=5000 ack=1102", Fit.STALE),
        (FAST_OPEN, "< RA seq=0 ack=1001", Fit.INSIDE),
        (FAST_OPEN, "< RA seq=0 ack=1102", Fit.OUTSIDE),
        (FAST_OPEN, "> R seq=1101", Fit.INSIDE),
        (FAST_OPEN, "> R seq=1001", Fit.INSIDE),
        (FAST_OPEN, "> R seq=1050", Fit.OUTSIDE),
        (FAST_OPEN, "> A seq=66636 ack=1", Fit.INSIDE),
        (FAST_OPEN, "> A seq=66637 ack=1", Fit.OUTSIDE),
        ((*FAST_OPEN, "< SA seq=5000 ack=1001 win=2000"), "> PA seq=1001 ack=5001 len=100", Fit.INSIDE),
        ((*FAST_OPEN, "< SA seq=5000 ack=1001 win=2000"), "> PA seq=1001 ack=5001 len=2000", Fit.INSIDE),
        ((*FAST_OPEN, "< SA seq=5000 ack=1001 win=2000"), "> PA seq=1001 ack=5001 len=2001", Fit.OUTSIDE),
        ((*FAST_OPEN, "< SA seq=5000 ack=1001 win=2000"), "> R seq=1001", Fit.INSIDE),
        ((*FAST_OPEN, "> S seq=1000"), "< SA seq=5000 ack=1101", Fit.INSIDE),  # fallback, though both are on their way
        ((*FAST_OPEN, "> S seq=1000"), "< SA seq=5000 ack=1001", Fit.INSIDE),
        ((*FAST_OPEN, "> S seq=1000"), "> A seq=66636 ack=1", Fit.INSIDE),
        ((SYN, "> S seq=1000 len=100"), "< SA seq=5000 ack=1101", Fit.INSIDE),
        ((SYN, "> S seq=1000 len=100"), "> A seq=66636 ack=1", Fit.INSIDE),
        ((SYN, "> S seq=1000 len=100"), "> A seq=66637 ack=1", Fit.OUTSIDE),
        ((SYN, "> A seq=1001 ack=1 len=100"), "> A seq=66537 ack=1", Fit.OUTSIDE),  # only a SYN moves that
        ((SYN, "> A seq=1001 ack=1 len=100"), "< SA seq=5000 ack=1101", Fit.INSIDE),
        # A SYN with another number begins anew.
        ((SYN, "> S seq=7000000"), "< SA seq=5000 ack=7000001", Fit.INSIDE),
        ((SYN, "> S seq=7000000"), "< SA seq=5000 ack=1001", Fit.STALE),
        ((SYN, "> S seq=7000000"), "> A seq=1001 ack=1", Fit.OUTSIDE),
        ((SYN, "> S seq=900"), "> R seq=901", Fit.INSIDE),
        ((SYN, "> S seq=900"), "> R seq=1001", Fit.OUTSIDE),
        # A SYN without an offer takes the first one's back, and its window counts.
        (("> S seq=1000 scale=7", "> S seq=1000 win=500", "< SA seq=5000 ack=1001 scale=3"), FULL, Fit.INSIDE),
        (("> S seq=1000 scale=7", "> S seq=1000 win=499", "< SA seq=5000 ack=1001 scale=3"), FULL, Fit.OUTSIDE),
        (
            ("> S seq=1000 scale=7 win=9000", "> S seq=900", "< SA seq=5000 ack=901"),
            "< A seq=3976 ack=901",
            Fit.OUTSIDE,
        ),
        (
            ("> S seq=1000 win=9000", "> S seq=1000 win=1", "< SA seq=5000 ack=1001"),
            "< A seq=5000 ack=1001",
            Fit.INSIDE,
        ),
        (
            ("> S seq=1000 win=9000", "> S seq=1000 win=1", "< SA seq=5000 ack=1001"),
            "< A seq=4999 ack=1001",
            Fit.OUTSIDE,
        ),
        # What was said before the responder spoke was not scaled.
        ((SCALED[0], "> A seq=1001 ack=1 win=65535", SCALED[1]), f"< A seq={5001 - 2**16} ack=1001", Fit.INSIDE),
        ((SCALED[0], "> A seq=1001 ack=1 win=65535", SCALED[1]), f"< A seq={5000 - 2**16} ack=1001", Fit.OUTSIDE),
        # Of a connection that both open at once neither SYN acknowledges data.
        (("> S seq=1000 len=100", "< S seq=5000 win=2000"), "> SA seq=1000 ack=5001 len=2000", Fit.INSIDE),
        (("> S seq=1000 len=100", "< S seq=5000 win=2000"), "> SA seq=1000 ack=5001 len=2001", Fit.OUTSIDE),
        ((SYN, "< SA seq=5000 ack=1001 len=50"), "< SA seq=5000 ack=1001 len=1000", Fit.INSIDE),
        ((SYN, "< SA seq=5000 ack=1001 len=50"), "< SA seq=5000 ack=1001 len=1001", Fit.OUTSIDE),
        # Resets: behind what was sent, or behind what was acknowledged; all between and up to the limit are doubtful.
        (IN_FLIGHT, "> R seq=1301", Fit.INSIDE),
        (IN_FLIGHT, "> R seq=1101", Fit.INSIDE),
        (IN_FLIGHT, "> R seq=1100", Fit.OUTSIDE),
        (IN_FLIGHT, "> R seq=1102", Fit.DOUBTFUL),
        (IN_FLIGHT, "> R seq=1300", Fit.DOUBTFUL),
        (IN_FLIGHT, "> R seq=3101", Fit.DOUBTFUL),
        (IN_FLIGHT, "> R seq=3102", Fit.OUTSIDE),
        (LOST, "> R seq=1101", Fit.INSIDE),  # a smaller window later does not hide what was acknowledged with the limit
        (("> S seq=1000 win=1000", "< SA seq=5000 ack=1001 win=0"), "> R seq=1001", Fit.INSIDE),
        ((*HANDSHAKE, "> A seq=1001 ack=5001 len=1", "< A seq=5001 ack=1002 win=0"), "> R seq=1001", Fit.INSIDE),
        # A reset that was accepted teaches nothing.
        ((SYN, "< RA seq=0 ack=1001"), "< SA seq=5000 ack=1001", Fit.INSIDE),
    ],
)
def test_windows_move(story: tuple[str, ...], text: str, fit: Fit) -> None:
    assert judge(after(*story), text) is fit


@pytest.mark.parametrize(
    ("text", "finished", "fit"),
    [
        ("> R seq=1102", True, Fit.INSIDE),
        ("> R seq=1101", True, Fit.INSIDE),
        ("> R seq=1001", True, Fit.INSIDE),
        ("> R seq=1100", True, Fit.DOUBTFUL),
        ("> R seq=1101", False, Fit.DOUBTFUL),
        ("> R seq=1102", False, Fit.INSIDE),
    ],
)
def test_a_reset_may_overtake_the_fin(text: str, fit: Fit, *, finished: bool) -> None:
    windows = after(*HANDSHAKE, "> FA seq=1001 ack=5001 len=100")
    assert judge(windows, text, finished=finished) is fit


@pytest.mark.parametrize(
    ("story", "me", "challenge"),
    [
        (HANDSHAKE, 0, (5001, 1001, 2000)),
        (HANDSHAKE, 1, (1001, 5001, 1000)),
        (IN_FLIGHT, 0, (5001, 1101, 2000)),  # what was not acknowledged is not acknowledged here
        (IN_FLIGHT, 1, (1301, 5001, 1000)),
        (LOST, 0, (5001, 1101, 2000)),  # the last one that moved the limit
        ((*HANDSHAKE, "< PA seq=5001 ack=1001 len=700 win=1999"), 0, (5701, 1001, 2000)),
        ((*HANDSHAKE, "< A seq=5001 ack=1003 win=1998"), 0, (5001, 1003, 1998)),
        ((*IN_FLIGHT, "< A seq=5001 ack=1301 win=1800"), 0, (5001, 1301, 1800)),
        ((*IN_FLIGHT, "< A seq=5001 ack=1301 win=1799"), 0, (5001, 1101, 2000)),
        (SCALED, 0, (5001, 1001, 2000)),
        (SCALED, 1, (1001, 5001, 1000)),
        (SCALED[:2], 0, (5001, 1001, 250)),
        (SCALED[:2], 1, (1001, 5001, 8)),
        (ROUNDED, 0, (5001, 1001, 32)),
        (ROUNDED, 1, (1001, 5001, 1)),
        (LARGEST, 0, (5001, 1001, 65535)),
        ((SYN, "< SA seq=5000 ack=1001 len=50 win=2000"), 1, (1001, 5001, 1000)),
        ((SYN, "< A seq=5000 ack=1001 win=0"), 0, (5000, 1001, 0)),
        ((SYN, "< SA seq=5000 ack=1001 win=0"), 0, (5001, 1001, 1)),
        ((*FAST_OPEN, "< SA seq=5000 ack=1001 win=2000"), 0, (5001, 1001, 2000)),
        ((*FAST_OPEN, "< S seq=5000 win=2000"), 0, (5001, 1001, 2000)),
    ],
)
def test_a_challenge_says_what_the_other_end_has_said(
    story: tuple[str, ...], me: int, challenge: tuple[int, int, int]
) -> None:
    asked = after(*story).challenge(me)
    assert asked is not None
    assert (asked.seq, asked.ack, asked.window) == challenge


@pytest.mark.parametrize(
    ("story", "text", "repeated"),
    [
        (HANDSHAKE, "< SA seq=5000 ack=1001", True),
        (HANDSHAKE, "< SA seq=4999 ack=1001 len=1", True),
        (HANDSHAKE, "< SA seq=5001 ack=1001", False),
        (HANDSHAKE, "< SA seq=4999 ack=1001", False),
        (HANDSHAKE, "< S seq=5000", False),
        (HANDSHAKE, "> SA seq=1000 ack=5001", True),
        ((*HANDSHAKE, "< A seq=5001 ack=1001 len=1"), "< SA seq=5000 ack=1001", False),
        ((SYN,), "> SA seq=1000 ack=1", False),
    ],
)
def test_a_syn_with_ack_may_be_sent_again(story: tuple[str, ...], text: str, *, repeated: bool) -> None:
    assert after(*story).repeats_syn(*segment(text)) is repeated


def test_a_syn_that_is_sent_again_teaches_no_reach_and_is_not_scaled() -> None:
    windows = after(*SCALED, "< SA seq=5000 ack=1001 win=60000 scale=3", "> A seq=1001 ack=5001 len=60000")
    assert windows.challenge(0) is not None
    assert judge(windows, "> A seq=61001 ack=5001 len=1") is Fit.OUTSIDE
    assert judge(windows, f"> A seq={61001 - 2**14} ack=5001") is Fit.INSIDE
    assert judge(windows, f"> A seq={61000 - 2**14} ack=5001") is Fit.OUTSIDE


@pytest.mark.parametrize(("window", "reach"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (65535, 16), (65535 << 14, 30)])
def test_the_reach_of_a_window(window: int, reach: int) -> None:
    assert reach_of(window) == reach


@pytest.mark.parametrize(
    ("side", "seq", "covered"),
    [
        (0, 1001, True),
        (0, 3001, True),
        (0, 3002, False),
        (0, 1001 - 2048 - SLACK, True),
        (0, 1000 - 2048 - SLACK, False),
        (1, 6001, True),
        (1, 6002, False),
        (1, 5001 - 1024 - SLACK, True),
        (1, 5000 - 1024 - SLACK, False),
    ],
)
def test_what_was_sent_of_late(side: int, seq: int, *, covered: bool) -> None:
    assert after(*HANDSHAKE).covers(side, seq % 2**32) is covered


def test_the_originator_has_a_first_flight_and_the_responder_has_sent_nothing() -> None:
    windows = after(SYN)
    assert (windows.covers(0, 1001 + 65535), windows.covers(0, 1002 + 65535)) == (True, False)
    assert (windows.covers(0, 1000), windows.covers(0, 999)) == (True, False)
    assert not windows.covers(1, 0)


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        ("", None),
        ("020405b4", None),
        ("03030701", 7),
        ("01030302", 2),
        ("020405b401030307", 7),
        ("03030e00", 14),
        ("03030f00", 14),
        ("0303ff00", 14),
        ("0003030700000000", None),  # behind the end
        ("03020303050000", 5),  # of another length: stepped over
        ("0304090903030400", 4),
        ("0303030303030900", 3),  # the first one
        ("01010103", None),  # cut short
        ("01010303", None),
        ("0500030307000000", None),  # a length that cannot be
        ("0501030307000000", None),
        ("0840030307000000", None),
    ],
)
def test_the_scale_in_the_options_of_a_syn(options: str, scale: int | None) -> None:
    assert offered_scale(bytes.fromhex(options)) == scale


# --- through the edge -----------------------------------------------------------------------------------------------

CLIENT, SERVER = "192.0.2.9:5", "10.20.0.10:80"
EVERYTHING = [default_rule("ALLOW")]


def bench(**options: object) -> Bench:
    """An edge that lets everything pass; calls from outside are not translated."""
    return Bench(with_options(acme(firewall=EVERYTHING, nat_rules=[]), **options))


def established() -> Bench:
    edge = bench()
    for text in ("> S seq=1000 win=1000", "< SA seq=5000 ack=1001 win=2000", "> A seq=1001 ack=5001 win=1000"):
        assert why(say(edge, text))[0] == "ALLOW"
    return edge


def say(edge: Bench, text: str) -> Outcome:
    way, rest = text.split(" ", 1)
    source, target = (CLIENT, SERVER) if way == ">" else (SERVER, CLIENT)
    return edge.send(f"tcp {source} > {target} {rest}")


DROPPED = ["SESSION HIT default_rule LAN", "SESSION DROP"]


@pytest.mark.parametrize(
    ("text", "reason", "challenge"),
    [
        ("> A seq=90000 ack=5001", "TCP_WINDOW", None),
        ("> R seq=1500", "TCP_WINDOW", "A seq=5001 ack=1001 win=2000"),
        ("> R seq=90000", "TCP_WINDOW", None),
        ("> S seq=1", "TCP_STATE", "A seq=5001 ack=1001 win=2000"),
        ("> SA seq=1001 ack=5001", "TCP_STATE", "A seq=5001 ack=1001 win=2000"),
        ("> . seq=1001", "TCP_STATE", None),
        ("> P seq=1001", "TCP_STATE", None),
        ("> F seq=1001", "TCP_STATE", None),
        ("> SF seq=1001", "TCP_STATE", None),
        ("> SR seq=1001", "TCP_STATE", None),
        ("> SFA seq=1001 ack=5001", "TCP_STATE", None),
    ],
)
def test_what_does_not_fit_is_dropped_and_changes_nothing(text: str, reason: str, challenge: str | None) -> None:
    edge = established()
    before, counters = edge.edge.sessions(), edge.edge.rule_counters()
    edge.now_ns += 1
    outcome = say(edge, text)
    assert (why(outcome), stages(outcome)) == (("DROP", reason), DROPPED)
    answer = [] if challenge is None else [("INTERNET", f"tcp {SERVER} > {CLIENT} {challenge}")]
    assert left(outcome, "seq", "ack", "win") == answer
    assert (edge.edge.sessions(), edge.edge.rule_counters()) == (before, counters)
    assert why(say(edge, "> A seq=1001 ack=5001")) == ("ALLOW", "SESSION")


def test_a_challenge_is_an_ack_from_the_address_that_was_called() -> None:
    edge = Bench(acme())
    edge.send("tcp 198.51.100.9:5 > 203.0.113.11:80 S seq=1000 win=900")
    edge.reply("SA")
    edge.send("tcp 198.51.100.9:5 > 203.0.113.11:80 A")
    outcome = edge.send("tcp 198.51.100.9:5 > 203.0.113.11:80 S seq=77")
    assert why(outcome) == ("DROP", "TCP_STATE")
    text = "tcp 203.0.113.11:80 > 198.51.100.9:5 A seq=1001 ack=1001 win=65535"
    assert left(outcome, "seq", "ack", "win") == [("INTERNET", text)]
    assert outcome.outputs[0].frame[14:] == build_frame(parse_packet(text))[14:]


def test_numbers_of_an_end_that_was_never_heard_are_no_challenge() -> None:
    edge = bench()
    say(edge, "> S seq=1000")
    assert why(say(edge, "> R seq=1001")) == ("ALLOW", "SESSION")  # both TIME_WAIT now, the responder unheard
    outcome = say(edge, "> SA seq=1001 ack=1")
    assert (why(outcome), outcome.outputs) == (("DROP", "TCP_STATE"), ())


def test_a_dying_packet_is_not_looked_at() -> None:
    assert why(say(established(), "> R seq=1500 ttl=1")) == ("DROP", "TTL_EXPIRED")


@pytest.mark.parametrize("first", ["A", "SA", "R", "FA"])
def test_a_session_met_in_the_middle_has_no_windows(first: str) -> None:
    edge = bench(tcp_strict=False)
    for text in (f"> {first} seq=1", "< A seq=1000000 ack=77", "> PA seq=3000000000 ack=5 len=9", "> SA seq=9 ack=9"):
        assert why(say(edge, text))[0] == "ALLOW"
    assert why(say(edge, "> F seq=1")) == ("DROP", "TCP_STATE")


@pytest.mark.parametrize("flags", [".", "P", "F", "SF", "SR", "FR"])
def test_flags_that_begin_nothing(flags: str) -> None:
    def begin(config: object) -> tuple[tuple[str, str], list[str]]:
        outcome = Bench(config).send(f"tcp 198.51.100.9:5 > 203.0.113.11:80 {flags}")  # type: ignore[arg-type]
        return why(outcome), stages(outcome)[-1:]

    dnat = nat("d", "DNAT", "203.0.113.11", "10.20.0.10")
    config = acme(firewall=EVERYTHING, nat_rules=[dnat])
    bypass = acme(firewall=EVERYTHING, nat_rules=[replace(dnat, firewall_match=type(dnat.firewall_match).BYPASS)])
    reflexive = acme(firewall=EVERYTHING, nat_rules=[nat("r", "REFLEXIVE", "203.0.113.11", "10.20.0.10")])
    assert begin(config) == (("DROP", "TCP_STRICT"), ["FIREWALL DROP"])
    assert begin(with_options(config, tcp_strict=False)) == (("DROP", "TCP_STATE"), ["FIREWALL DROP"])
    assert begin(bypass) == (("DROP", "TCP_STATE"), ["FIREWALL DROP"])
    assert begin(reflexive) == (("ALLOW", "FW_DEFAULT"), ["FIREWALL ALLOW default_rule"])


def test_windows_are_scaled_by_the_options_of_both_syns() -> None:
    client, server = bytes((192, 0, 2, 9)), bytes((10, 20, 0, 10))
    edge = bench()
    scale = b"\x02\x04\x05\xb4\x01\x03\x03\x07"
    handshake = (
        ("INTERNET", tcp(client, server, 5, 80, FLAGS["S"], 1000, 0, b"", scale, 1000)),
        ("LAN", tcp(server, client, 80, 5, FLAGS["S"] | FLAGS["A"], 5000, 1001, b"", scale, 1000)),
        ("INTERNET", tcp(client, server, 5, 80, FLAGS["A"], 1001, 5001, b"", b"", 1000)),
    )
    for port, parts in handshake:
        assert why(edge.frame(port, frame(parts)))[0] == "ALLOW"
    far = 5001 + (1000 << 7)
    verdicts = [
        why(edge.frame("LAN", frame(tcp(server, client, 80, 5, FLAGS["A"], seq, 1001)))) for seq in (far + 1, far)
    ]
    assert verdicts == [("DROP", "TCP_WINDOW"), ("ALLOW", "SESSION")]
