"""Lines of FTP control connections that name the end of a data connection, most of them as they should be."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

PORTS = (1030, 1030, 1031, 1032, 1033, 4000, 4001, 2050, 1024, 65535, 140, 80, 1023, 0)
DELIMITERS = "|" * 12 + "!~:.19a(,) "


def line(random: Random, own: bytes, others: list[bytes], *, from_originator: bool) -> bytes:
    """What one end says of itself, or of somebody else."""
    same = [item for item in others if len(item) == len(own)]
    address = random.choice(same) if same and random.random() < 0.08 else own
    port = random.choice(PORTS) if random.random() < 0.97 else random.randrange(70000)
    if random.random() < 0.04:
        from_originator = not from_originator
    extended = len(own) == 16 or random.random() < 0.35
    if random.random() < 0.03:
        extended = not extended
    make = (eprt if extended else port_line) if from_originator else (answer_229 if extended else answer_227)
    text = make(random, address, port)
    if random.random() < 0.12:
        text = spoilt(random, text)
    ending = random.choice((b"\r\n",) * 14 + (b"\n", b"\r\n331 more", b"", b"\r", b"\r\r\n", b" \r\n"))
    return text + ending


def six(random: Random, address: bytes, port: int) -> bytes:
    numbers = [*address[:4], port >> 8, port & 255]
    form = "{:03d}" if random.random() < 0.08 else "{}"
    return ",".join(form.format(number) for number in numbers).encode()


def port_line(random: Random, address: bytes, port: int) -> bytes:
    return random.choice((b"PORT ", b"PORT ", b"port ", b"Port ")) + six(random, address, port)


def eprt(random: Random, address: bytes, port: int) -> bytes:
    d = random.choice(DELIMITERS)
    net = ("1" if len(address) == 4 else "2") if random.random() < 0.97 else random.choice("0123")
    shown = ip_address(address)
    text = long_form(random, address) if random.random() < 0.3 else str(shown)
    number = f"{port:05d}" if random.random() < 0.08 else str(port)
    return f"{random.choice(('EPRT', 'EPRT', 'eprt'))} {d}{net}{d}{text}{d}{number}{d}".encode()


def long_form(random: Random, address: bytes) -> str:
    """An address with more digits than it needs; of IPv6, perhaps ended as IPv4, as long as any can be."""
    shown = ip_address(address).exploded
    if len(address) == 16 and random.random() < 0.4:
        shown = f"{shown[:30]}{ip_address(address[12:])}"
    return shown.upper() if random.random() < 0.3 else shown


def answer_227(random: Random, address: bytes, port: int) -> bytes:
    before = random.choice((b"Entering Passive Mode (", b"Entering Passive Mode (", b"(", b"=", b"(x) ("))
    return b"227 " + before + six(random, address, port) + random.choice((b")", b").", b") (1,2)", b""))


def answer_229(random: Random, _: bytes, port: int) -> bytes:
    d = random.choice(DELIMITERS)
    number = f"{port:05d}" if random.random() < 0.08 else str(port)
    return f"229 Entering Extended Passive Mode ({d}{d}{d}{number}{d})".encode() + random.choice((b"", b"."))


def spoilt(random: Random, text: bytes) -> bytes:
    """With something in it that does not belong there, or without something that does."""
    at = random.randrange(len(text))
    match random.randrange(4):
        case 0:
            return text[:at] + text[at + 1 :]
        case 1:
            odd = random.choice((b" ", b"0", b"9", b"\0", b"\xff", b",", b"(", b")", b"|", b"\n"))
            return text[:at] + odd + text[at:]
        case 2:
            return text[:at] + random.randbytes(1) + text[at + 1 :]
        case _:
            return text + bytes(random.choice((400, 480, 500)))
