"""Application layer gateways of FTP: which commands are understood, and which go through as they are."""

from __future__ import annotations

import pytest

from tests.alg_bench import (
    CALLED,
    IN6,
    OUT,
    OUT6,
    OUTSIDE,
    PUBLISHED,
    WAY_OUT,
    WAY_OUT6,
    Control,
    Make,
    expected,
    ftp_edge,
    payload_of,
    said,
    why,
)

REFUSED_PORT = (
    "PORT 10,20,0,50,200,10 ", "PORT  10,20,0,50,200,10", "PORT 10,20,0,50,200", "PORT 10,20,0,50,200,10,1",
    "PORT 10,20,0,50,200,256", "PORT 10,20,0,50,200,0010", "PORT 10, 20,0,50,200,10", "PORT 10,20,0,50,,10",
    "PORT 10,20,0,+5,200,10", "PORT\t10,20,0,50,200,10", "XPORT 10,20,0,50,200,10", "PORT10,20,0,50,200,10",
    "PORT 10,20,0,50,3,255", "PORT 10,20,0,50,0,21", "PORT 10,20,0,50,0,0",  # below 1024
    "PORT 10,20,0,51,200,10", "PORT 198,51,100,9,200,10", "PORT 203,0,113,10,200,10",  # somebody else (bounce)
    "PORT 10,20,0,50,200,10\r", "PORT 10,20,0,50,200,10\0",
    "227 (10,20,0,50,200,10)", "229 (|||51210|)",  # an answer, from the client
)  # fmt: skip
REFUSED_EPRT = (
    "EPRT |2|10.20.0.50|51210|", "EPRT |1|10.20.0.51|51210|", "EPRT |1|10.20.0.50|1023|", "EPRT |1|10.20.0.50|65536|",
    "EPRT |1|10.20.0.050|51210|", "EPRT |1|10.20.0.50|51210", "EPRT |1|10.20.0.50|51210||",
    "EPRT |1|10.20.0.50|51210| ",
    "EPRT |1|10.20.0.50|051210|", "EPRT  1 10.20.0.50 51210 ", "EPRT 1110.20.0.5015121011", "EPRT .1.10.20.0.50.51210.",
    "EPRT |01|10.20.0.50|51210|", "EPRT |1||51210|", "EPRT |1|10.20.0.50|-5121|", "EPRT |1|10.20.0.50\0|51210|",
    "EPRT ", "EPRT |", "EPRT |1|::ffff:10.20.0.50|51210|",
    "EPRT 51510.20.0.50551210510",
)  # fmt: skip


@pytest.mark.parametrize("line", [*REFUSED_PORT, *REFUSED_EPRT])
def test_commands_that_go_through_as_they_are(make: Make, line: str) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    results = said(control, f"> {line}")
    assert (why(results), expected(results)) == ("ALLOW SESSION", None)
    assert payload_of(results) == line.encode("latin-1") + b"\r\n"


UNDERSTOOD = {
    b"port 10,20,0,50,200,10\r\n": b"port 203,0,113,10,200,10\r\n",
    b"pOrT 010,020,000,050,200,010\r\n": b"pOrT 203,0,113,10,200,10\r\n",
    b"PORT 10,20,0,50,200,10\n": b"PORT 203,0,113,10,200,10\n",
    b"PORT 10,20,0,50,200,10\r\nLIST\r\n": b"PORT 203,0,113,10,200,10\r\nLIST\r\n",
    b"PORT 10,20,0,50,200,10\n\n" + bytes(487): b"PORT 203,0,113,10,200,10\n\n" + bytes(487),
    b"EPRT ~1~10.20.0.50~51210~\r\n": b"EPRT ~1~203.0.113.10~51210~\r\n",
    b"EPRT |1|10.20.0.50|51210|\n": b"EPRT |1|203.0.113.10|51210|\n",
}


@pytest.mark.parametrize("line", UNDERSTOOD)
def test_forms_of_a_command(make: Make, line: bytes) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    results = control.say(line)
    assert payload_of(results) == UNDERSTOOD[line]
    assert expected(results) == f"tcp {OUTSIDE}:0 > 203.0.113.10:51210 S"


@pytest.mark.parametrize(
    "line",
    [
        b"PORT 10,20,0,50,200,10",  # the line is not over
        b"PORT 10,20,0,50,200,10\r",
        b"\r\nPORT 10,20,0,50,200,10\r\n",
        b"USER ftp\r\nPORT 10,20,0,50,200,10\r\n",
        b"PORT 10,20,0,50,200,10\r\n" + bytes(489),  # 513 bytes
        b"PORT 10,20,0,50\n,200,10\r\n",
        b"\n",
        b"",
    ],
)
def test_segments_that_hold_no_command(make: Make, line: bytes) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    results = control.say(line)
    assert (why(results), expected(results), payload_of(results)) == ("ALLOW SESSION", None, line)


REFUSED_ANSWERS = (
    "227 Entering Passive Mode 10,20,0,5,200,10", "227 (10,20,0,5,200,10", "227-(10,20,0,5,200,10)",
    "227(10,20,0,5,200,10)",
    "227 (x) (10,20,0,5,200,10)", "227 (10,20,0,5,200,10 )", "227 ( 10,20,0,5,200,10)", "227 (10,20,0,5,200,10,)",
    "227 (10,20,0,5,3,255)", "227 (10,20,0,6,200,10)", "227 (203,0,113,11,200,10)", " 227 (10,20,0,5,200,10)",
    "228 (10,20,0,5,200,10)", "229 (|||51210)", "229 (||51210|)", "229 (||||51210|)", "229 (|||1023|)",
    "229 (|||65536|)",
    "229 (|||051210|)", "229 (|||51210|", "229 (|||51210| )", "229 |||51210|", "229 (   51210 )", "229 (|||5121O|)",
    "229 (|!|51210|)", "229 ()", "229 (", "229 (||||)", "229 (11151210 1)",
    "PORT 10,20,0,5,200,10", "EPRT |1|10.20.0.5|51210|",  # a command, from the server
)  # fmt: skip


@pytest.mark.parametrize("line", REFUSED_ANSWERS)
def test_answers_that_go_through_as_they_are(make: Make, line: str) -> None:
    control = Control(make(ftp_edge(PUBLISHED)), CALLED)
    results = said(control, f"< {line}")
    assert (why(results), expected(results)) == ("ALLOW SESSION", None)
    assert payload_of(results) == line.encode() + b"\r\n"


@pytest.mark.parametrize(
    ("line", "leaves"),
    [
        (b"227 =(10,20,0,5,200,10)\n", b"227 =(203,0,113,11,200,10)\n"),
        (b"227 (010,20,0,5,200,10) (1,2)\r\n", b"227 (203,0,113,11,200,10) (1,2)\r\n"),
        (b"229 Entering Extended Passive Mode (|||51210|)\r\n229 (\r\n", None),
        (b"229 (aaa51210a)x\r\n", None),
    ],
)
def test_forms_of_an_answer(make: Make, line: bytes, leaves: bytes | None) -> None:
    control = Control(make(ftp_edge(PUBLISHED)), CALLED)
    results = control.answer(line)
    assert payload_of(results) == (leaves or line)
    assert expected(results) == f"tcp {OUTSIDE}:0 > 203.0.113.11:51210 S"


@pytest.mark.parametrize(
    "line", ["> PORT 32,1,13,184,200,10", "< 227 (32,1,13,184,200,10)", "> EPRT |1|10.20.0.50|51210|"]
)
def test_commands_of_ipv4_are_not_for_ipv6(make: Make, line: str) -> None:
    results = said(Control(make(ftp_edge()), IN6), line)
    assert (why(results), expected(results)) == ("ALLOW SESSION", None)


@pytest.mark.parametrize(
    "address", ["2001:db8:20::50%1", "2001:db8:20::51", "2001:db8:20::0:0::50", "2001:db8:20::0050:", "1" * 46, ""]
)
def test_addresses_of_ipv6_that_are_none_or_somebody_elses(make: Make, address: str) -> None:
    results = said(Control(make(ftp_edge(WAY_OUT6)), OUT6), f"> EPRT |2|{address}|51210|")
    assert (why(results), expected(results)) == ("ALLOW SESSION", None)


def test_a_delimiter_that_the_new_text_would_contain(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT6)), OUT6)
    results = said(control, "> EPRT f2f2001:db8:20::50f51210f")  # outside it would be 2001:db8:ff::10
    assert (why(results), expected(results)) == ("ALLOW SESSION", None)
