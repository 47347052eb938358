"""Application layer gateways of FTP: sequence numbers of a connection whose commands have changed their length."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import ip_address

from edge.model import Timers
from edge.packets import build_frame, format_frame, parse_packet
from edge.trace import Tracer, TraceResult
from edge.verdicts import Reason, Verdict
from tests.alg_bench import (
    CALLED,
    CLIENT,
    CLIENT6,
    OUT,
    OUT6,
    OUTSIDE,
    PUBLISHED,
    SERVER,
    WAY_OUT,
    WAY_OUT6,
    Control,
    Make,
    expected,
    ftp_edge,
    payload_of,
    ports,
    why,
)
from tests.model import frames
from tests.support import nat


def numbers(results: list[TraceResult]) -> str:
    """``seq=1 ack=2`` of the output."""
    words = results[-1].outputs[-1].packet.split()
    return " ".join(word for word in words if word.startswith(("seq=", "ack=")))


def test_later_numbers_are_shifted_and_answers_shifted_back(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    line = b"PORT 10,20,0,50,200,10\r\n"  # 24 bytes, 26 outside
    assert numbers(control.say(line, "seq=1001 ack=1001")) == "seq=1001 ack=1001"
    assert numbers(control.answer(b"", "A seq=1001 ack=1027")) == "seq=1001 ack=1025"
    assert numbers(control.answer(b"", "A seq=1001 ack=1001")) == "seq=1001 ack=1001"
    assert numbers(control.say(b"LIST\r\n", "seq=1025 ack=1001")) == "seq=1027 ack=1001"
    assert numbers(control.answer(b"150\r\n", "seq=1001 ack=1033")) == "seq=1001 ack=1031"
    again = control.say(line, "seq=1001 ack=1001")
    assert (numbers(again), payload_of(again)) == ("seq=1001 ack=1001", b"PORT 203,0,113,10,200,10\r\n")
    assert numbers(control.say(b"NOOP\r\n", "seq=1031 ack=1006")) == "seq=1033 ack=1006"


def test_a_second_command_adds_to_the_shift(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    line = b"PORT 10,20,0,50,200,10\r\n"
    control.say(line, "seq=1001")
    assert numbers(control.say(line, "seq=1025 ack=1001")) == "seq=1027 ack=1001"
    assert numbers(control.say(b"LIST\r\n", "seq=1049 ack=1001")) == "seq=1053 ack=1001"
    assert numbers(control.answer(b"", "A seq=1001 ack=1053")) == "seq=1001 ack=1049"
    assert numbers(control.answer(b"", "A seq=1001 ack=1027")) == "seq=1001 ack=1025"


def test_an_answer_that_shrinks(make: Make) -> None:
    edge = make(ftp_edge(nat("pub", "DNAT", "203.0.113.11", "10.20.0.105")))
    control = Control(edge, CALLED)
    line = b"227 (010,020,000,105,200,010)\r\n"  # 31 bytes, 28 outside
    assert payload_of(control.answer(line, "seq=1001")) == b"227 (203,0,113,11,200,10)\r\n"
    assert numbers(control.answer(b"150\r\n", "seq=1032 ack=1001")) == "seq=1028 ack=1001"
    assert numbers(control.say(b"LIST\r\n", "seq=1001 ack=1028")) == "seq=1001 ack=1032"


def test_a_retransmission_says_what_was_said(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT, options=ports("9999-10000"))), OUT)
    line = b"PORT 10,20,0,50,39,15\r\n"  # 9999
    assert payload_of(control.say(line, "seq=1001")) == b"PORT 203,0,113,10,39,15\r\n"
    control.tracer.send(f"tcp {OUTSIDE}:20 > 203.0.113.10:9999 S")
    again = control.say(line, "seq=1001")  # its port is in use by now
    assert (payload_of(again), expected(again)) == (b"PORT 203,0,113,10,39,15\r\n", None)
    assert numbers(control.say(b"LIST\r\n", "seq=1024 ack=1001")) == "seq=1026 ack=1001"
    anew = control.say(line, "seq=1030 ack=1001")  # another command
    assert payload_of(anew) == b"PORT 203,0,113,10,39,16\r\n"


def test_a_retransmission_when_nothing_is_expected_any_more(make: Make) -> None:
    options = ports("9999-10000", timers=replace(Timers(), tcp_opening=7))
    control = Control(make(ftp_edge(WAY_OUT, options=options)), OUT)
    line = b"PORT 10,20,0,50,39,16\r\n"  # 10000
    control.say(line, "seq=1001")
    control.tracer.wait(7)
    other = Control(control.edge, OUT.replace(CLIENT, "10.20.0.51"), control.tracer)
    other.say(line.replace(b"50", b"51"), "seq=1001")
    again = control.say(line, "seq=1001 ack=1001")
    assert (payload_of(again), expected(again)) == (b"PORT 203,0,113,10,39,16\r\n", None)  # that is another's now
    control.tracer.wait(7)
    again = control.say(line, "seq=1001 ack=1001")
    assert payload_of(again) == b"PORT 203,0,113,10,39,16\r\n"
    assert expected(again) == f"tcp {OUTSIDE}:0 > 203.0.113.10:10000 S"


LINE = b"PORT 10,20,0,50,200,10\r\n"  # 24 bytes, 26 outside
SHOWN = b"PORT 203,0,113,10,200,10\r\n"


def test_a_retransmission_with_more_behind_it(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    control.say(LINE, "seq=1001")
    again = control.say(LINE + b"LIST\r\n", "seq=1001 ack=1001")
    assert (numbers(again), payload_of(again)) == ("seq=1001 ack=1001", SHOWN + b"LIST\r\n")
    assert numbers(control.say(b"LIST\r\n", "seq=1025 ack=1001")) == "seq=1027 ack=1001"
    assert numbers(control.say(b"NOOP\r\n", "seq=1031 ack=1001")) == "seq=1033 ack=1001"
    assert numbers(control.answer(b"", "A seq=1001 ack=1033")) == "seq=1001 ack=1031"


def test_a_retransmission_with_more_before_it(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    control.say(b"TYPE I\r\n", "seq=1001")
    control.say(LINE, "seq=1009")
    again = control.say(b"TYPE I\r\n" + LINE + b"LIST\r\n", "seq=1001 ack=1001")
    assert (numbers(again), payload_of(again)) == ("seq=1001 ack=1001", b"TYPE I\r\n" + SHOWN + b"LIST\r\n")
    assert expected(again) == f"tcp {OUTSIDE}:0 > 203.0.113.10:51210 S"
    assert numbers(control.say(b"NOOP\r\n", "seq=1039 ack=1001")) == "seq=1041 ack=1001"


def test_a_retransmission_of_what_came_with_more(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    first = control.say(LINE + b"LIST\r\n", "seq=1001")
    assert payload_of(first) == SHOWN + b"LIST\r\n"
    again = control.say(LINE, "seq=1001 ack=1001")
    assert (numbers(again), payload_of(again)) == ("seq=1001 ack=1001", SHOWN)
    assert numbers(control.say(b"LIST\r\n", "seq=1025 ack=1001")) == "seq=1027 ack=1001"
    assert numbers(control.answer(b"", "A seq=1001 ack=1027")) == "seq=1001 ack=1025"
    assert numbers(control.answer(b"", "A seq=1001 ack=1033")) == "seq=1001 ack=1031"


def test_an_extended_command_again_with_more(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT6)), OUT6)
    line = f"EPRT |2|{CLIENT6}|51210|\r\n".encode()
    shown = b"EPRT |2|2001:db8:ff::10|51210|\r\n"
    control.say(line, "seq=1001")
    again = control.say(line + b"LIST\r\n", "seq=1001 ack=1001")
    assert (numbers(again), payload_of(again)) == ("seq=1001 ack=1001", shown + b"LIST\r\n")
    behind = 1001 + len(line)
    after = numbers(control.say(b"LIST\r\n", f"seq={behind} ack=1001"))
    assert after == f"seq={1001 + len(shown)} ack=1001"


def test_another_command_in_the_place_of_one(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    control.say(LINE, "seq=1001")
    other = control.say(b"PORT 10,20,0,50,200,11\r\n", "seq=1001 ack=1001")
    assert payload_of(other) == b"PORT 203,0,113,10,200,11\r\n"
    assert numbers(control.say(b"LIST\r\n", "seq=1025 ack=1001")) == "seq=1027 ack=1001"


def test_an_old_command_again_leaves_the_shift(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    control.say(b"PORT 10,20,0,50,200,10\r\n", "seq=1001")
    control.say(b"PORT 10,20,0,50,200,11\r\n", "seq=1025")
    old = control.say(b"PORT 10,20,0,50,200,10\r\n", "seq=1001 ack=1001")
    assert payload_of(old) == b"PORT 203,0,113,10,200,10\r\n"
    assert numbers(control.say(b"LIST\r\n", "seq=1049 ack=1001")) == "seq=1053 ack=1001"


def test_numbers_that_wrap(make: Make) -> None:
    edge = make(ftp_edge(WAY_OUT))
    tracer = Tracer(edge)
    tracer.send(f"{OUT} seq=4294967280")
    tracer.reply("SA")
    tracer.reply("A")
    control = Control.__new__(Control)
    control.edge, control.tracer, control.info = edge, tracer, edge.sessions()[0]
    control.say(b"PORT 10,20,0,50,200,10\r\n", "seq=4294967281")
    assert numbers(control.say(b"LIST\r\n", "seq=9 ack=1001")) == "seq=11 ack=1001"
    assert numbers(control.answer(b"", "A seq=1001 ack=11")) == "seq=1001 ack=9"
    assert numbers(control.answer(b"", "A seq=1001 ack=4294967281")) == "seq=1001 ack=4294967281"


def test_challenges_speak_the_numbers_of_who_hears_them(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    control.say(b"PORT 10,20,0,50,200,10\r\n", "seq=1001 ack=1001")
    asked = control.answer(b"", "S seq=7 ack=7")  # a SYN on an open connection
    assert why(asked) == "DROP TCP_STATE"
    assert "seq=1027 " in asked[-1].outputs[-1].packet
    asked = control.say(b"", "S seq=7 ack=7")
    assert "seq=1001 " in asked[-1].outputs[-1].packet


def test_an_error_quotes_what_the_sender_sent(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    control.say(b"PORT 10,20,0,50,200,10\r\n", "seq=1001 ack=1001")
    left = control.say(b"LIST\r\n", "seq=1025 ack=1001")[-1].outputs[-1]
    quote = left.packet.partition(" data=")[0]
    error = control.tracer.send(f'icmp 192.0.2.1 > 203.0.113.10 host-unreachable of="{quote}"')
    assert why(error) == "ALLOW RELATED"
    frame = error[-1].outputs[-1].frame
    assert int.from_bytes(frame[14 + 28 + 20 + 4 : 14 + 28 + 20 + 8], "big") == 1025
    assert ip_address(frame[14 + 28 + 12 : 14 + 28 + 16]) == ip_address(CLIENT)


def captured(control: Control, text: str) -> tuple[str, str, str]:
    """What a packet of a capture from behind the edge was before it, and as what it leaves."""
    frame = build_frame(parse_packet(text))
    port, before = control.edge.map_reply(control.info.in_port, frame, 0)
    outcome = control.edge.process(control.info.in_port, frame, 0, unsegmented=True, map_replies=True)
    assert outcome.verdict is Verdict.ALLOW
    shown = {"seq", "ack"}
    assert outcome.outputs[0].frame[14 + 20 :] == frame[14 + 20 :]  # the capture again, checksums and all
    return port, format_frame(before, shown), format_frame(outcome.outputs[0].frame, shown)


def test_an_answer_in_a_capture_from_behind_the_edge(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    control.say(b"PORT 10,20,0,50,200,10\r\n", "seq=1001 ack=1001")
    outside = f"203.0.113.10:{control.info.translated.sport}"
    assert captured(control, f"tcp {OUTSIDE}:21 > {CLIENT}:40000 A seq=1001 ack=1025") == (
        "INTERNET",
        f"tcp {OUTSIDE}:21 > {outside} A seq=1001 ack=1027",
        f"tcp {OUTSIDE}:21 > {CLIENT}:40000 A seq=1001 ack=1025",
    )
    sack = f"tcp {OUTSIDE}:21 > {CLIENT}:40000 A seq=1001 ack=1001"
    assert captured(control, sack)[1:] == (f"tcp {OUTSIDE}:21 > {outside} A seq=1001 ack=1001", sack)


def test_selective_acknowledgements_in_a_capture_from_behind_the_edge(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    control.say(b"PORT 10,20,0,50,200,10\r\n", "seq=1001 ack=1001")
    blocks = b"\1\1\5\x0a" + struct.pack("!2I", 1025, 1031)
    ends = ip_address(OUTSIDE).packed, ip_address(CLIENT).packed, 21, 40000
    frame = frames.frame(frames.tcp(*ends, 16, 1001, 1001, b"", blocks))
    _, before = control.edge.map_reply("LAN", frame, 0)
    assert struct.unpack_from("!2I", before, 14 + 20 + 20 + 4) == (1027, 1033)
    outcome = control.edge.process("LAN", frame, 0, map_replies=True)
    assert outcome.outputs[0].frame[14 + 20 :] == frame[14 + 20 :]


def test_an_error_in_a_capture_from_behind_the_edge_about_a_shifted_segment(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    control.say(b"PORT 10,20,0,50,200,10\r\n", "seq=1001 ack=1001")
    control.say(b"LIST\r\n", "seq=1025 ack=1001")
    error = f'icmp 192.0.2.1 > {CLIENT} host-unreachable of="{OUT[:-2]} PA seq=1025 ack=1001"'
    frame = build_frame(parse_packet(error))
    at = 14 + 20 + 8 + 20 + 4  # of the quoted sequence number
    port, before = control.edge.map_reply("LAN", frame, 0)
    assert (port, struct.unpack_from("!I", before, at)) == ("INTERNET", (1027,))
    assert frames.checksum(before[34:]) == 0
    outcome = control.edge.process("LAN", frame, 0, map_replies=True)
    assert outcome.reason is Reason.RELATED
    assert outcome.outputs[0].frame[34:] == frame[34:]


def test_an_answer_of_a_published_server_in_a_capture_from_behind_the_edge(make: Make) -> None:
    client = "10.30.0.7"
    control = Control(make(ftp_edge(PUBLISHED)), f"tcp {client}:40000 > 203.0.113.11:21 S")
    control.answer(b"227 (10,20,0,5,200,10)\r\n", "seq=1001 ack=1001")  # 24 bytes, 27 for the client
    text = f"tcp 203.0.113.11:21 > {client}:40000 A seq=1028 ack=1001"
    assert captured(control, text) == ("LAN", f"tcp {SERVER}:21 > {client}:40000 A seq=1025 ack=1001", text)
