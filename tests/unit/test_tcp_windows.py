"""TCP as it happens to people, segments lost, sent again, forged; on the native edge and on the reference."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.verdicts import Outcome
from tests.model.frames import Parts, frame, icmp, tcp
from tests.reference_bench import Bench, left, stages, why
from tests.support import acme, default_rule, with_options

CLIENT, SERVER = bytes((192, 0, 2, 9)), bytes((10, 20, 0, 10))
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16}
NAMES = {">": "tcp 10.20.0.10:80 > 192.0.2.9:5 ", "<": "tcp 192.0.2.9:5 > 10.20.0.10:80 "}
"""What an answer to the client, and one to the server, begins with."""

Make = Callable[..., Bench]


@pytest.fixture(params=[Edge, ReferenceEdge], ids=["native", "reference"])
def make(request: pytest.FixtureRequest) -> Make:
    """An edge that lets everything pass, untranslated."""

    def bench(**options: object) -> Bench:
        config = with_options(acme(firewall=[default_rule("ALLOW")], nat_rules=[]), mtu=9000, **options)
        return Bench(config, make=request.param)

    return bench


def segment(text: str) -> tuple[str, Parts]:
    """``> PA seq=1001 ack=5001 win=1000 len=10 scale=7``, > from the client: where it enters, and the packet."""
    way, flags, *numbers = text.split()
    given = {key: int(value) % 2**32 for key, value in (item.split("=") for item in numbers)}
    ends = (CLIENT, SERVER, 5, 80) if way == ">" else (SERVER, CLIENT, 80, 5)
    bits = sum(FLAGS[letter] for letter in flags)
    options = b"\x01\x03\x03" + bytes((given["scale"],)) if "scale" in given else b""
    numbers_of = [given.get(key, default) for key, default in (("seq", 0), ("ack", 0), ("len", 0), ("win", 1000))]
    parts = tcp(*ends, bits, numbers_of[0], numbers_of[1], bytes(numbers_of[2]), options, numbers_of[3])
    return "INTERNET" if way == ">" else "LAN", parts


def say(bench: Bench, text: str) -> Outcome:
    port, parts = segment(text)
    return bench.frame(port, frame(parts))


def heard(way: str, outcome: Outcome) -> str:
    """The reason, and what the edge answered."""
    answers = [text.removeprefix(NAMES[way]) for _, text in left(outcome, "seq", "ack", "win")]
    return " ".join([why(outcome)[1], *([] if why(outcome)[0] == "ALLOW" else answers)])


PASSES = "SESSION"
LOST = "TCP_WINDOW"
SYN = ("> S seq=1000 win=1000", "FW_DEFAULT")
HANDSHAKE = (SYN, ("< SA seq=5000 ack=1001 win=2000", PASSES), ("> A seq=1001 ack=5001 win=1000", PASSES))
FAST_OPEN = ("> S seq=1000 win=1000 len=100", "FW_DEFAULT")

STORIES: dict[str, tuple[tuple[str, str], ...]] = {
    "a forged SYN while data is on its way": (
        *HANDSHAKE,
        ("> PA seq=1001 ack=5001 len=100", PASSES),
        ("< A seq=5001 ack=1101 win=2000", PASSES),
        ("> PA seq=1101 ack=5001 len=300", PASSES),  # the server has not got this yet
        ("> S seq=9", "TCP_STATE A seq=5001 ack=1101 win=2000"),
        ("< A seq=5001 ack=1101 win=2000", PASSES),
        ("< PA seq=5001 ack=1401 len=10 win=1700", PASSES),
        ("> S seq=9", "TCP_STATE A seq=5011 ack=1401 win=1700"),
        ("< S seq=9", "TCP_STATE A seq=1401 ack=5001 win=1000"),
    ),
    "a late duplicate of the client's own SYN": (
        *HANDSHAKE,
        ("> S seq=1000 win=1000", "TCP_STATE A seq=5001 ack=1001 win=2000"),
        ("> A seq=1001 ack=5001", PASSES),
    ),
    "the client's SYN once more before its ACK": (
        *HANDSHAKE[:2],
        ("> S seq=1000 win=1000", PASSES),
        ("< SA seq=5000 ack=1001 win=2000", PASSES),
        ("> A seq=1001 ack=5001", PASSES),
    ),
    "the server has not heard the ACK": (
        *HANDSHAKE,
        ("< SA seq=5000 ack=1001 win=2000", PASSES),
        ("< SA seq=5000 ack=90000 win=2000", LOST),
        ("< SA seq=5001 ack=1001 win=2000", "TCP_STATE A seq=1001 ack=5001 win=1000"),
        ("< S seq=5000 win=2000", "TCP_STATE A seq=1001 ack=5001 win=1000"),
        ("> A seq=1001 ack=5001", PASSES),
        ("< PA seq=5001 ack=1001 len=1", PASSES),
        ("< SA seq=5000 ack=1001 win=2000", "TCP_STATE A seq=1001 ack=5001 win=1000"),
    ),
    "a reset where data was lost behind the edge": (
        *HANDSHAKE,
        ("> PA seq=1001 ack=5001 len=300", PASSES),
        ("> R seq=1000", LOST),
        ("> R seq=1002", "TCP_WINDOW A seq=5001 ack=1001 win=2000"),
        ("> R seq=1300", "TCP_WINDOW A seq=5001 ack=1001 win=2000"),
        ("> R seq=3001", "TCP_WINDOW A seq=5001 ack=1001 win=2000"),
        ("> R seq=3002", LOST),
        ("> R seq=1001", PASSES),
    ),
    "a reset that does not look at acknowledgements": (*HANDSHAKE, ("< RA seq=5001 ack=3000000000", PASSES)),
    "a reset behind all that was sent": (
        *HANDSHAKE,
        ("< PA seq=5001 ack=1001 len=1000", PASSES),
        ("< R seq=6001", PASSES),
    ),
    "a reset in the place of a FIN": (
        *HANDSHAKE,
        ("> FA seq=1001 ack=5001 len=10", PASSES),
        ("> R seq=1010", "TCP_WINDOW A seq=5001 ack=1001 win=2000"),
        ("> R seq=1011", PASSES),
    ),
    "a reset in front of the last byte is not one in the place of a FIN": (
        *HANDSHAKE,
        ("> PA seq=1001 ack=5001 len=11", PASSES),
        ("> R seq=1011", "TCP_WINDOW A seq=5001 ack=1001 win=2000"),
    ),
    "a reset behind a window that has closed": (
        *HANDSHAKE,
        ("> PA seq=1001 ack=5001 len=2000", PASSES),
        ("< A seq=5001 ack=3001 win=0", PASSES),
        ("> A seq=3001 ack=5001 len=1", PASSES),
        ("> R seq=3000", LOST),
        ("> R seq=3001", PASSES),
    ),
    "data with a SYN is accepted": (
        FAST_OPEN,
        ("< SA seq=5000 ack=1101 win=2000", PASSES),
        ("> A seq=1101 ack=5001 len=2000", PASSES),
        ("> A seq=3101 ack=5001 len=1", LOST),
    ),
    "data with a SYN is not, and comes again": (
        FAST_OPEN,
        ("< SA seq=5000 ack=1001 win=2000", PASSES),
        ("> PA seq=1001 ack=5001 len=100", PASSES),
        ("< A seq=5001 ack=1101 win=2000", PASSES),
        ("> S seq=9", "TCP_STATE A seq=5001 ack=1101 win=2000"),
    ),
    "data with a SYN is not, and the client gives up": (
        FAST_OPEN,
        ("< SA seq=5000 ack=1001 win=2000", PASSES),
        ("> R seq=1001", PASSES),
    ),
    "data with a SYN is refused": (FAST_OPEN, ("< RA seq=0 ack=1001", PASSES)),
    "data with a SYN is lost, and comes again with it": (
        FAST_OPEN,
        ("> S seq=1000 win=1000 len=100", PASSES),
        ("< SA seq=5000 ack=1102 win=2000", "TCP_WINDOW R seq=1102 ack=0 win=0"),
        ("< SA seq=5000 ack=1101 win=2000", PASSES),
    ),
    "data with a SYN is lost, and the SYN comes without": (
        ("> S seq=1000 win=1000 len=100 scale=7", "FW_DEFAULT"),
        ("> S seq=1000 win=500", PASSES),
        ("< SA seq=5000 ack=1001 win=2000 scale=7", PASSES),
        ("< A seq=5001 ack=1001 len=501", LOST),
        ("> PA seq=1001 ack=5001 len=100", PASSES),
        ("< A seq=5001 ack=1101 len=500", PASSES),
        ("< A seq=5501 ack=1101 len=500", PASSES),
        ("< A seq=6001 ack=1101 len=1", LOST),
    ),
    "data with a SYN was not lost, though the SYN comes without": (
        FAST_OPEN,
        ("> S seq=1000 win=1000", PASSES),
        ("> A seq=66636 ack=0", PASSES),
        ("> A seq=66637 ack=0", LOST),
        ("< SA seq=5000 ack=1101 win=2000", PASSES),
    ),
    "a SYN that comes with data only the second time": (
        SYN,
        ("> S seq=1000 win=1000 len=100", PASSES),
        ("< SA seq=5000 ack=1101 win=2000", PASSES),
    ),
    "data before the server has spoken": (
        SYN,
        ("> A seq=1001 ack=0 len=100", PASSES),
        ("> A seq=1000 ack=0", PASSES),
        ("> A seq=999 ack=0", LOST),
        ("> A seq=66536 ack=0", PASSES),
        ("> A seq=66537 ack=0", LOST),
        ("< SA seq=5000 ack=1101 win=2000", PASSES),
    ),
    "what the client says before the answer leaves the window of its SYN in force": (
        SYN,
        ("> FA seq=1001 ack=77 win=60000", PASSES),
        ("< SA seq=5000 ack=1001 win=2000", PASSES),
        ("< A seq=5001 ack=1001 len=1000", PASSES),
        ("< A seq=6001 ack=1001 len=1", LOST),
        ("< A seq=5001 ack=1001", PASSES),
        (f"< A seq={6001 - 2**16} ack=1001", PASSES),
        (f"< A seq={6000 - 2**16} ack=1001", LOST),
    ),
    "a client that begins anew": (
        SYN,
        ("> S seq=4000000000 win=3000", PASSES),
        ("> A seq=1001 ack=0", LOST),
        ("> R seq=1001", LOST),
        ("< SA seq=5000 ack=1001", "TCP_WINDOW R seq=1001 ack=0 win=0"),
        ("< SA seq=5000 ack=4000000001 win=2000", PASSES),
        ("> A seq=4000000001 ack=5001 win=3000", PASSES),
        ("< A seq=5001 ack=4000000001 len=1200", PASSES),
        ("< A seq=6201 ack=4000000001 len=1300", PASSES),
        ("< A seq=7501 ack=4000000001 len=501", LOST),
    ),
    "a client that gives up": (SYN, ("> R seq=1000", LOST), ("> R seq=1002", LOST), ("> R seq=1001", PASSES)),
    "a client that gives up data that is not there any more": (FAST_OPEN, ("> R seq=1001", PASSES)),
    "a client that gives up data with its SYN": (FAST_OPEN, ("> R seq=1050", LOST), ("> RA seq=1101 ack=7", PASSES)),
    "a server that remembers another connection": (
        SYN,
        ("< A seq=70000 ack=80000", "TCP_WINDOW R seq=80000 ack=0 win=0"),
        ("< FA seq=70000 ack=80000", "TCP_WINDOW R seq=80000 ack=0 win=0"),
        ("< SA seq=70000 ack=1000", "TCP_WINDOW R seq=1000 ack=0 win=0"),
        ("< RA seq=70000 ack=1000", LOST),
        ("< RA seq=70000 ack=80000", LOST),
        ("< R seq=80000", LOST),
        ("> S seq=1000 win=1000", PASSES),
        ("< SA seq=5000 ack=1001 win=2000", PASSES),
    ),
    "both ends at once": (
        SYN,
        ("< S seq=5000 win=2000", PASSES),
        ("> SA seq=1000 ack=5001 win=1000", PASSES),
        ("< SA seq=5000 ack=1001 win=2000", PASSES),
        ("> SA seq=1000 ack=5001 win=1000", PASSES),
        ("> A seq=1001 ack=5001 len=2000", PASSES),
        ("> A seq=3001 ack=5001 len=1", LOST),
    ),
    "both ends at once, with data": (
        FAST_OPEN,
        ("< S seq=5000 win=2000 len=50", PASSES),
        ("> R seq=1001", PASSES),
    ),
    "data with the answer is not acknowledged yet": (
        SYN,
        ("< SA seq=5000 ack=1001 win=2000 len=50", PASSES),
        ("< A seq=5051 ack=1001 len=950", PASSES),
        ("< A seq=6001 ack=1001 len=1", LOST),
        ("< R seq=5002", "TCP_WINDOW A seq=1001 ack=5001 win=1000"),
    ),
    "the largest windows": (
        ("> S seq=-5 win=65535 scale=14", "FW_DEFAULT"),
        ("< SA seq=-5000 ack=-4 win=65535 scale=14", PASSES),
        ("> A seq=-4 ack=-4999 win=65535", PASSES),
        ("< A seq=-4999 ack=-4 win=65535", PASSES),
        (f"> A seq={-4 + (65535 << 14)} ack=-4999", PASSES),
        (f"> A seq={-3 + (65535 << 14)} ack=-4999", LOST),
        (f"> A seq={-4 + (65535 << 14) - 2**30} ack=-4999", PASSES),
        (f"> A seq={-5 + (65535 << 14) - 2**30} ack=-4999", LOST),
        (f"> A seq={-4 + (65535 << 14)} ack={-4999 - (67035 << 14)}", PASSES),
        (f"> A seq={-4 + (65535 << 14)} ack={-5000 - (67035 << 14)}", LOST),
        (f"> A seq={-4 + (65535 << 14)} ack={-4999 + 67035}", PASSES),
        (f"> A seq={-4 + (65535 << 14)} ack={-4998 + 67035}", LOST),
        (f"> A seq={-4 + (65535 << 14)} ack={-4999 + 2**31}", LOST),  # as far away as can be, either way
        (f"> A seq={-4 + (65535 << 14) + 2**31} ack=-4999", LOST),
        ("> S seq=9", f"TCP_STATE A seq={2**32 - 4999} ack={2**32 - 4} win=65535"),
    ),
    "windows that are no whole units of their scale": (
        ("> S seq=1000 win=1 scale=14", "FW_DEFAULT"),
        ("< SA seq=5000 ack=1001 win=1001 scale=5", PASSES),
        ("> A seq=2025 ack=5001", PASSES),
        ("> A seq=2026 ack=5001", LOST),
        ("< R seq=5002", "TCP_WINDOW A seq=2025 ack=5001 win=1000"),
        ("> R seq=2024", "TCP_WINDOW A seq=5001 ack=1001 win=32"),
        ("> R seq=1001", PASSES),
    ),
    "what was said before the server spoke was not scaled": (
        ("> S seq=1000 win=1000 scale=7", "FW_DEFAULT"),
        ("> A seq=1001 ack=0 win=65535", PASSES),
        ("< SA seq=5000 ack=1001 win=2000 scale=3", PASSES),
        (f"< A seq={5001 - 2**16} ack=1001", PASSES),
        (f"< A seq={5000 - 2**16} ack=1001", LOST),
    ),
    "a SYN-ACK that comes again is not scaled": (
        ("> S seq=1000 win=1000 scale=7", "FW_DEFAULT"),
        ("< SA seq=5000 ack=1001 win=2000 scale=3", PASSES),
        ("> A seq=1001 ack=5001 win=1000", PASSES),
        ("< A seq=5001 ack=1001 win=2000", PASSES),
        ("< SA seq=5000 ack=1001 win=65535 scale=3", PASSES),
        ("> A seq=66537 ack=5001", PASSES),
        ("> A seq=66538 ack=5001", LOST),
        (f"> A seq={66537 - 2**14} ack=5001", PASSES),
        (f"> A seq={66536 - 2**14} ack=5001", LOST),
    ),
    "one window back, in powers of two": (
        *HANDSHAKE,
        ("> A seq=-1047 ack=5001", PASSES),
        ("> A seq=-1048 ack=5001", LOST),
        ("< A seq=3977 ack=1001 win=2049", PASSES),
        ("< A seq=3976 ack=1001", LOST),
        ("> A seq=-3095 ack=5001", PASSES),
        ("> A seq=-3096 ack=5001", LOST),
        ("< A seq=5001 ack=1001 win=0", PASSES),
        ("> A seq=-3095 ack=5001", PASSES),
    ),
    "a window that is smaller now takes nothing back": (
        *HANDSHAKE,
        ("< A seq=5001 ack=1001 win=10", PASSES),
        ("> A seq=1001 ack=5001 len=2000", PASSES),
        ("> A seq=3001 ack=5001 len=1", LOST),
    ),
    "a server without a window": (
        SYN,
        ("< SA seq=5000 ack=1001 win=0", PASSES),
        ("> A seq=1000 ack=5001", PASSES),
        ("> A seq=999 ack=5001", LOST),
        ("> A seq=1001 ack=5001 len=2", LOST),
        ("> A seq=1001 ack=5001 len=1", PASSES),
        ("> S seq=9", "TCP_STATE A seq=5001 ack=1001 win=1"),
    ),
    "a server that answers without a SYN": (
        SYN,
        ("< A seq=5000 ack=1001 win=0", PASSES),
        ("> A seq=1001 ack=5000", PASSES),
        ("> S seq=9", "TCP_STATE A seq=5000 ack=1001 win=0"),
    ),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_story(make: Make, story: tuple[tuple[str, str], ...]) -> None:
    bench = make()
    for number, (text, expected) in enumerate(story):
        before = bench.edge.sessions()
        found = heard(text[0], say(bench, text))
        assert found == expected, f"{number}: {text}"
        if expected not in (PASSES, "FW_DEFAULT"):
            assert bench.edge.sessions() == before


@pytest.mark.parametrize(
    ("story", "quoted", "passes"),
    [
        ((SYN,), "> A seq=1000", True),
        ((SYN,), "> A seq=999", False),
        ((SYN,), "> A seq=66536", True),
        ((SYN,), "> A seq=66537", False),
        ((SYN,), "< A seq=0", False),
        ((FAST_OPEN,), "> A seq=1000", True),
        ((FAST_OPEN,), "> A seq=66636", True),
        ((FAST_OPEN,), "> A seq=66637", False),
        ((SYN, ("> S seq=7000000", PASSES)), "> A seq=1000", False),
        ((SYN, ("> S seq=7000000", PASSES)), "> A seq=7000000", True),
        (HANDSHAKE, f"> A seq={1001 - 2048 - 67035}", True),
        (HANDSHAKE, f"> A seq={1000 - 2048 - 67035}", False),
        (HANDSHAKE, "> A seq=3001", True),
        (HANDSHAKE, "> A seq=3002", False),
        (HANDSHAKE, f"< A seq={5001 - 1024 - 67035}", True),
        (HANDSHAKE, f"< A seq={5000 - 1024 - 67035}", False),
        (HANDSHAKE, "< A seq=6001", True),
        (HANDSHAKE, "< A seq=6002", False),
    ],
)
def test_errors_quote_what_was_sent_of_late(
    make: Make, story: tuple[tuple[str, str], ...], quoted: str, *, passes: bool
) -> None:
    bench = make()
    for text, expected in story:
        assert heard(text[0], say(bench, text)) == expected
    _, parts = segment(quoted)
    error = icmp(parts.dst, parts.src, 3, 1, 0, 0, frame(parts)[14 : 14 + 28])
    outcome = bench.frame("LAN" if quoted[0] == ">" else "INTERNET", frame(error))
    assert why(outcome)[1] == ("RELATED" if passes else "ICMP_UNRELATED")


def test_a_connection_that_was_reset_before_an_answer(make: Make) -> None:
    bench = make()
    for text, expected in (
        SYN,
        ("> R seq=1001", PASSES),  # both sides are TIME_WAIT, and the server was never heard
        ("> SA seq=1000 ack=1", "TCP_STATE"),
        ("< SA seq=5000 ack=1001", "TCP_STATE"),
        ("< RA seq=0 ack=1001", PASSES),
        ("> S seq=1000 win=1000", "FW_DEFAULT"),  # a new session
    ):
        assert heard(text[0], say(bench, text)) == expected, text


def test_a_challenge_that_nobody_could_get_costs_nothing(make: Make) -> None:
    bench = make(icmp_error_rate=1)
    for text, expected in HANDSHAKE:
        assert heard(text[0], say(bench, text)) == expected
    broadcast = bytes((10, 20, 0, 255))
    opening = frame(tcp(broadcast, CLIENT, 80, 5, FLAGS["S"], 1000, 0))
    assert why(bench.frame("LAN", opening)) == ("ALLOW", "FW_DEFAULT")
    stale = frame(tcp(CLIENT, broadcast, 5, 80, FLAGS["A"], 7, 70000))
    for _ in range(2):
        outcome = bench.frame("INTERNET", stale)
        assert (why(outcome), stages(outcome)[1:], outcome.outputs) == (("DROP", "TCP_WINDOW"), ["SESSION DROP"], ())
    assert heard(">", say(bench, "> S seq=9")) == "TCP_STATE A seq=5001 ack=1001 win=2000"
    assert bench.edge.stats().answers_limited == 0


def test_numbers_half_the_circle_apart_are_not_further_on(make: Make) -> None:
    bench = make()
    begun = 2**31 - 1
    assert why(say(bench, f"> S seq={begun} len=7"))[1] == "FW_DEFAULT"
    assert heard("<", say(bench, "< S seq=5000 win=2 len=100")) == PASSES
    assert heard(">", say(bench, f"> SA seq={begun + 2**31} ack=5001 win=100 len=7")) == PASSES
    (session,) = bench.edge.sessions()
    assert session.next_segments[0] is not None
    assert session.next_segments[0].seq == begun + 8
