"""What happens in a tiny universe: packets that answer, repeat and contradict each other, while time passes."""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from random import Random

from edge.state import SessionMatch
from edge.verdicts import Endpoints, Fragmentation, Outcome, Reason, StepResult, Verdict
from tests.model.frames import Parts, frame, icmp, mutated, parts_of, tcp, udp, without_length
from tests.model.mishaps import ERRORS, error_about
from tests.model.pieces import in_pieces
from tests.model.talk import SCALE_OPTIONS, Said, Talk, behind, tcp_ends
from tests.model.universe import ODD, PORTS, Universe, changed_universe, slightly_changed_universe
from tests.support import SECOND

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
FLAGS = (SYN,) * 12 + (SYN | PSH, SYN | 0xC0, ACK, SYN | ACK, FIN | ACK, FIN, RST, RST | ACK, PSH | ACK, SYN | FIN, 0)
REPLIES = (SYN | ACK, SYN | ACK, ACK, ACK, PSH | ACK, FIN | ACK, RST, RST | ACK, SYN)
SOURCE_PORTS = (4000, 4001, 1030, 1031, 80)
QUERIES = {4: {8: 0, 13: 14, 15: 16, 17: 18}, 6: {128: 129}}
OTHERS = {4: ((9, 0), (10, 0), (40, 3), (0x50, 1)), 6: ((133, 0), (135, 0), (200, 1), (255, 255))}


@dataclass(frozen=True, slots=True)
class PacketEvent:
    """One frame in by a port.  ``mapped``: it comes from a capture that was taken behind the edge, ``unsegmented``
    before a network card cut it up; ``fragmentation``: it is a whole datagram that came in pieces, and comes back."""

    port: str
    frame: bytes
    now_ns: int
    mapped: bool = False
    unsegmented: bool = False
    fragmentation: Fragmentation | None = None


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """Another configuration."""

    universe: Universe


@dataclass(frozen=True, slots=True)
class BatchEvent:
    """Frames in by their ports, all at one time; ``on_trial``: a copy of the edge gets them one by one, then the edge
    itself."""

    frames: tuple[tuple[str, bytes], ...]
    now_ns: int
    on_trial: bool = False


@dataclass(frozen=True, slots=True)
class DeleteEvent:
    """Somebody ends sessions."""

    match: SessionMatch


Event = PacketEvent | ChangeEvent | BatchEvent | DeleteEvent


class Traffic:
    """Draws events one by one; told of each outcome, so that it can go on from there."""

    def __init__(self, random: Random, universe: Universe) -> None:
        self.random = random
        self.universe = universe
        self.now_ns = 0
        self._popular = random.sample(universe.addresses, 4)
        self._sent: deque[tuple[str, bytes]] = deque(maxlen=24)
        self._left: deque[tuple[str, bytes]] = deque(maxlen=24)
        self._hairpin: deque[tuple[str, bytes, Fragmentation | None]] = deque()
        self._pieces: deque[tuple[str, bytes]] = deque()
        self._held: deque[int] = deque(maxlen=4)
        self._storm: deque[Parts] = deque()
        self._unsettled = 0  # packets that are to come of old endpoints, after a change
        self._forwarded: deque[tuple[str, bytes]] = deque(maxlen=24)
        self._translated: deque[tuple[str, bytes]] = deque(maxlen=12)
        self._translated_from: deque[tuple[str, bytes]] = deque(maxlen=6)
        self._crowded: deque[tuple[bytes, bytes]] = deque(maxlen=3)  # ends between which SNAT has to find ports
        self._talks: deque[Talk] = deque(maxlen=4)
        self._said: tuple[Talk, Said] | None = None
        self._awaited: deque[tuple[bool, Endpoints]] = deque(maxlen=6)

    def saw(self, event: PacketEvent, outcome: Outcome) -> None:
        """What became of an event."""
        self._sent.append((event.port, event.frame))
        if outcome.verdict is Verdict.HELD:
            self._held.append(event.now_ns + self.universe.config.options.fragment_timeout * SECOND)
        before = parts_of(event.frame)
        if before is not None and any(step.result is StepResult.SNAT for step in outcome.steps):
            self._crowded.append((before.src, before.dst))
        for step in outcome.steps:
            if step.result is StepResult.EXPECT and step.after is not None and before is not None:
                self._awaited.append((before.protocol == 6, step.after))
        for output in outcome.outputs:
            self._left.append((output.port, output.frame))
            if outcome.verdict is Verdict.ALLOW:
                after = parts_of(output.frame)
                changed = (
                    before is not None and after is not None and (after.src, after.dst) != (before.src, before.dst)
                )
                (self._translated if changed else self._forwarded).append((output.port, output.frame))
                if changed and outcome.reason is not Reason.SESSION:
                    self._translated_from.append((event.port, event.frame))
                self._listen(outcome.reason, output.port, after, changed=changed)
            if output.hairpin:
                self._hairpin.append((output.port, output.frame, output.fragmentation))

    def _listen(self, reason: Reason, port: str, parts: Parts | None, *, changed: bool) -> None:
        """Tell a conversation that its segment left as ``parts``; the first one that does so finds the other end.

        Those without a session are soon over, and those without NAT make room for others.
        """
        ends = None if parts is None else tcp_ends(parts)
        if self._said is None or parts is None or ends is None:
            return
        talk, said = self._said
        if len(talk.ends) == 1:
            if reason is Reason.EAST_WEST or (not changed and self.random.random() < 0.7):
                return
            talk.joined(port, ends[1], ends[0])
            talk.strangers = [item.packed for item in self.universe.addresses]
            self._talks.append(talk)
        talk.passed(said, behind(parts))

    def event(self, deadlines: tuple[int, ...] = ()) -> Event:
        """The next thing to happen.  ``deadlines``: when sessions end, moments that time likes to stop at."""
        random = self.random
        self._said = None
        if random.random() < (0.002 if self.universe.calm else 0.012):
            change = random.choice((changed_universe, slightly_changed_universe))
            self.universe = change(random, self.universe)
            self._unsettled = random.choice((0, 8))
            return ChangeEvent(self.universe)
        self._let_time_pass((*deadlines, *self._held))
        if random.random() < 0.03:
            return self._batch()
        if random.random() < 0.003:
            return DeleteEvent(self._match())
        if self._hairpin:
            port, data, fragmentation = self._hairpin.popleft()
            if random.random() < 0.8 and port in self.universe.config.ports:
                return PacketEvent(port, data, self.now_ns, fragmentation=fragmentation)
        if self._left and random.random() < 0.03:
            port, data = self._recent(self._left)  # a capture of it, from behind the edge
            if port in self.universe.config.ports:
                return PacketEvent(port, data, self.now_ns, mapped=True)
        port, data = self._piece() or self._packet()
        if random.random() < 0.04:
            data = mutated(random, data)
        if port not in self.universe.config.ports or random.random() < 0.05:
            port = random.choice(self.universe.config.ports)
        mapped, unsegmented = random.random() < 0.15, random.random() < 0.1
        if random.random() < (0.3 if unsegmented else 0.01):
            data = without_length(data)
        return PacketEvent(port, data, self.now_ns, mapped=mapped, unsegmented=unsegmented)

    def _match(self) -> SessionMatch:
        """A few conditions of those that there are."""
        random, config = self.random, self.universe.config
        address = random.choice(self.universe.addresses)
        prefix = random.choice((8, 24, address.max_prefixlen))
        rules = [rule.id for rule in (*config.firewall.rules, *config.nat.rules)]
        conditions: dict[str, object] = {
            "protocol": random.choice((1, 6, 17, 58)),
            "address": ip_network((address, prefix), strict=False),
            "port_number": random.choice((*PORTS, *SOURCE_PORTS)),
            "port": random.choice(config.ports),
            "rule_id": random.choice([*rules, "nobody"]),
            "before_revision": random.choice((1, 2, 3)),
        }
        asked = random.sample(sorted(conditions), random.choice((1, 1, 2)))
        return SessionMatch(**{name: conditions[name] for name in asked})  # type: ignore[arg-type]

    def _batch(self) -> BatchEvent:
        """Packets of which nobody looks at one before the next is sent."""
        random = self.random
        frames = []
        for _ in range(random.choice((1, 2, 5, 9))):
            port, data = self._packet()
            frames += [(port, piece) for piece in (in_pieces(random, data) if random.random() < 0.1 else [data])]
        self._said = None
        ports = self.universe.config.ports
        known = tuple((port if port in ports else random.choice(ports), data) for port, data in frames)
        return BatchEvent(known, self.now_ns, on_trial=random.random() < 0.3)

    def _piece(self) -> tuple[str, bytes] | None:
        """The next fragment of a packet in pieces, of a new one now and then."""
        random = self.random
        if not self._pieces and random.random() < 0.12:
            port, data = self._packet()
            self._said = None
            self._pieces.extend((port, piece) for piece in in_pieces(random, data))
        if not self._pieces or random.random() < 0.15:
            return None
        return self._pieces.popleft()

    def _let_time_pass(self, deadlines: tuple[int, ...]) -> None:
        random = self.random
        drawn = random.random()
        if drawn < 0.55:
            return
        if drawn < 0.9:
            self.now_ns += random.randrange(50_000_000)
        elif drawn < 0.96 and deadlines:
            self.now_ns = max(self.now_ns, random.choice(deadlines) + random.choice((-1, 0, 0, 1)))
        elif drawn < 0.985:
            self.now_ns += random.randrange(1, 6) * SECOND
        elif drawn < 0.995:
            self.now_ns = max(0, self.now_ns - random.randrange(SECOND))  # a clock that was set back
        else:
            self.now_ns += random.choice((60, 900, 7200)) * SECOND

    # --- which packet ---

    def _packet(self) -> tuple[str, bytes]:
        if self._awaited and self.random.random() < 0.12:
            parts = self._expected()
            return self._natural_port(parts), self._dressed(parts)
        if not self._storm and self.random.random() < 0.01:
            self._storm.extend(self._many())
        if self._storm:
            parts = self._storm.popleft()
            return self._natural_port(parts), frame(parts)
        if self._unsettled and self._translated_from:
            self._unsettled -= 1
            return self._elsewhere() if self.random.random() < 0.5 else self._recent(self._translated_from)
        drawn = self.random.random()
        if drawn < (0.6 if self.universe.calm else 0.3):
            return self._conversation()
        if drawn < 0.4 and (self._forwarded or self._translated):
            which = self._translated if self._translated and self.random.random() < 0.6 else self._forwarded
            port, data = self._recent(which or self._translated)
            edges = [number for talk in self._talks for number in talk.edges()]
            error = error_about(self.random, data, [item.packed for item in self.universe.addresses], edges)
            if error is not None:
                return port, self._dressed(error)
        if drawn < 0.65 and self._left:
            port, data = self._recent(self._left)
            answer = self._answer(data)
            if answer is not None:
                return port, self._dressed(answer)
        if drawn < 0.72 and self._sent:
            return self._again()
        if drawn < 0.82 and self._translated_from:
            return self._elsewhere()
        parts = self._fresh()
        return self._natural_port(parts), self._dressed(parts)

    def _conversation(self) -> tuple[str, bytes]:
        """The next segment of a conversation, or the first of another."""
        random = self.random
        if self._talks and random.random() < 0.85:
            talk = random.choice(self._talks)
            if random.random() < (0.2 if talk.over else 0.002 if talk.calm else 0.01):
                self._talks.remove(talk)
        else:
            src, dst = self._addresses()
            own, far = (src, random.choice(SOURCE_PORTS)), (dst, random.choice(PORTS))
            port = self._natural_port(Parts(6, src, dst, b""))
            talk = Talk.begin(random, port, own, far)
            talk.calm = self.universe.calm and random.random() < 0.8
        port, parts, said = talk.speak()
        self._said = talk, said
        return port, frame(parts) if random.random() < 0.8 else self._dressed(parts)

    def _expected(self) -> Parts:
        """What an ALG waits for, or nearly."""
        random = self.random
        is_tcp, end = random.choice(self._awaited)
        src, dst = end.src.packed, end.dst.packed
        sport, dport = random.choice((20, 20, *SOURCE_PORTS)), end.dport
        if random.random() < 0.15:
            dport = (dport + random.choice((-1, 1))) % 2**16
        if random.random() < 0.1:
            src, dst = self._addresses()
        if not is_tcp and random.random() < 0.95:
            return self._udp(src, dst, sport, dport)
        return self._tcp(src, dst, sport, dport, SYN if random.random() < 0.85 else random.choice(FLAGS))

    def _many(self) -> list[Parts]:
        """Sessions from one machine to one service, more than there may be room for, or from one socket to many."""
        src, dst = self._crowded.pop() if self._crowded and self.random.random() < 0.7 else self._addresses()
        dport, numbers = self.random.choice(PORTS), range(5000, 5000 + self.random.choice((3, 6, 10)))
        match self.random.randrange(4):
            case 0:
                return [self._udp(src, dst, number, dport) for number in numbers]
            case 1:
                return [self._tcp(src, dst, number, dport, SYN) for number in numbers]
            case 2:
                sport = self.random.choice(SOURCE_PORTS)
                far = [item.packed for item in self.universe.addresses if len(item.packed) == len(src)]
                return [
                    self._udp(src, self.random.choice(far), sport, number)
                    if self.random.random() < 0.7
                    else self._tcp(src, self.random.choice(far), sport, number, SYN)
                    for number in numbers
                ]
        echo = 8 if len(src) == 4 else 128
        return [icmp(src, dst, echo, 0, number, 1) for number in numbers]

    def _recent(self, packets: deque[tuple[str, bytes]]) -> tuple[str, bytes]:
        return packets[max(self.random.randrange(len(packets)) for _ in range(3))]

    def _again(self) -> tuple[str, bytes]:
        """A packet that was sent before, or another of the same flow."""
        random = self.random
        port, data = self._recent(self._sent)
        parts = parts_of(data)
        if parts is None or random.random() < 0.4:
            return port, data
        if parts.protocol == 6 and len(parts.payload) >= 20:
            sport, dport = (int.from_bytes(parts.payload[at : at + 2], "big") for at in (0, 2))
            parts = self._tcp(
                parts.src, parts.dst, sport, dport, random.choice((ACK, ACK, PSH | ACK, FIN | ACK, RST, SYN))
            )
        return port, self._dressed(parts)

    def _elsewhere(self) -> tuple[str, bytes]:
        """A packet from an endpoint that was translated before, to another far end."""
        random = self.random
        port, data = self._recent(self._translated_from)
        parts = parts_of(data)
        if parts is None or parts.protocol not in (6, 17, 1, 58) or len(parts.payload) < 8:
            return port, data
        places = random.choice((self.universe.outside, self.universe.outside, self.universe.owned))
        far = [item.packed for item in places if len(item.packed) == len(parts.src)]
        dst, sport = random.choice(far or [parts.dst]), int.from_bytes(parts.payload[:2], "big")
        if parts.protocol == 6:
            return port, self._dressed(self._tcp(parts.src, dst, sport, random.choice(PORTS), SYN))
        if parts.protocol == 17:
            return port, self._dressed(self._udp(parts.src, dst, sport, random.choice(PORTS)))
        return port, self._dressed(Parts(parts.protocol, parts.src, dst, parts.payload))

    def _answer(self, data: bytes) -> Parts | None:
        """What the other end makes of a packet that left."""
        random = self.random
        parts = parts_of(data)
        if parts is None:
            return None
        rest, src, dst = parts.payload, parts.dst, parts.src
        if random.random() < 0.05:
            kind, code = random.choice(ERRORS[parts.version])
            return icmp(src, dst, kind, code, 0, 1400, data[14 : 14 + random.choice((28, 48, 200))])
        if parts.protocol in (6, 17) and len(rest) >= 8:
            sport, dport = (int.from_bytes(rest[at : at + 2], "big") for at in (2, 0))
            if parts.protocol == 17:
                return self._udp(src, dst, sport, dport)
            flags = random.choice(REPLIES)
            return self._tcp_answer(parts, flags) if len(rest) >= 20 else self._tcp(src, dst, sport, dport, flags)
        if parts.protocol in (1, 58) and len(rest) >= 8:
            reply = QUERIES[parts.version].get(rest[0])
            identifier, sequence = (int.from_bytes(rest[at : at + 2], "big") for at in (4, 6))
            if reply is not None:
                return icmp(src, dst, reply, 0, identifier, sequence, rest[8:])
            return icmp(src, dst, rest[0], rest[1], identifier, sequence)
        return Parts(parts.protocol, src, dst, rest)

    def _fresh(self) -> Parts:
        random = self.random
        src, dst = self._addresses()
        version = 4 if len(src) == 4 else 6
        sport, dport = random.choice(SOURCE_PORTS), random.choice(PORTS)
        match random.choices(
            ("tcp", "udp", "query", "reply", "error", "other icmp", "other"), (45, 25, 14, 3, 2, 3, 6)
        )[0]:
            case "tcp":
                return self._tcp(src, dst, sport, dport, random.choice(FLAGS))
            case "udp":
                return self._udp(src, dst, sport, dport)
            case "query":
                kind = random.choice(tuple(QUERIES[version]))
                return icmp(src, dst, kind, random.choice((0, 0, 0, 1)), random.choice((1, 2, 1030, 2048)), 1, b"ping")
            case "reply":
                kind = random.choice(tuple(QUERIES[version].values()))
                return icmp(src, dst, kind, 0, random.choice((1, 2, 1030)), 1)
            case "error":
                kind, code = random.choice(ERRORS[version])
                return icmp(src, dst, kind, code, 0, 0, bytes(random.choice((0, 28))))
            case "other icmp":
                kind, code = random.choice(OTHERS[version])
                return icmp(src, dst, kind, code, random.randrange(3), 0)
        return Parts(
            random.choice((2, 47, 50, 51, 132, 58 if version == 4 else 1, 59, 255)),
            src,
            dst,
            random.randbytes(random.randrange(12)),
        )

    def _addresses(self) -> tuple[bytes, bytes]:
        random, place = self.random, self.universe
        drawn = random.random()
        if drawn < (0.25 if place.calm else 0.35) and place.inside:
            src, targets = random.choice(place.inside), place.outside
        elif drawn < 0.5 and place.owned:
            src, targets = random.choice(place.outside), place.owned
        elif drawn < (0.75 if place.calm else 0.6) and place.inside and place.owned:
            src, targets = random.choice(place.inside), place.owned
        else:
            src, targets = random.choice(place.addresses), place.addresses
        same = [item for item in targets if item.version == src.version]
        same = same or [item for item in place.addresses if item.version == src.version]
        if random.random() < 0.5:
            same = [item for item in same if item in self._popular] or same
        src_bytes, dst_bytes = src.packed, random.choice(same).packed
        if random.random() < 0.03:
            odd = [text for text in ODD if (":" in text) == (src.version == 6)]
            packed = ip_address(random.choice(odd)).packed
            src_bytes, dst_bytes = (packed, dst_bytes) if random.random() < 0.5 else (src_bytes, packed)
        return src_bytes, dst_bytes

    def _tcp(self, src: bytes, dst: bytes, sport: int, dport: int, flags: int) -> Parts:
        random = self.random
        options = random.choice((b"", b"", b"\x01" * 8, *SCALE_OPTIONS))
        return tcp(src, dst, sport, dport, flags, random.getrandbits(32), random.getrandbits(32), self._data(), options)

    def _tcp_answer(self, parts: Parts, flags: int) -> Parts:
        """To a segment, with the numbers that it calls for or some others."""
        random, rest = self.random, parts.payload
        sport, dport, seq, ack, offset, given = struct.unpack_from("!HHIIBB", rest)
        behind = seq + len(rest) - (offset >> 4) * 4 + bool(given & SYN) + bool(given & FIN)
        if random.random() < 0.3:
            behind = random.choice((behind + 1, behind - 1, random.getrandbits(32)))
        seq = ack if given & ACK and random.random() < 0.8 else random.getrandbits(32)
        return tcp(parts.dst, parts.src, dport, sport, flags, seq, behind % 2**32, self._data())

    def _udp(self, src: bytes, dst: bytes, sport: int, dport: int) -> Parts:
        return udp(src, dst, sport, dport, self._data(), with_checksum=self.random.random() < 0.85)

    def _data(self) -> bytes:
        random = self.random
        drawn = random.random()
        if drawn < 0.9:
            return random.randbytes(random.choice((0, 0, 1, 7, 20)))
        return random.randbytes(random.choice((40, 100, 1220, 1240, 1300, 1452, 1480, 2000, 4000)))

    def _dressed(self, parts: Parts) -> bytes:
        """In an IP header and Ethernet, plain or with everything that may come with them."""
        random = self.random
        if random.random() < 0.6:
            return frame(parts)
        payload = parts.payload
        if random.random() < 0.05 and len(payload) >= 18:
            payload = (
                payload[:6] + random.choice((b"\0\0", b"\xff\xff")) + payload[8:16] + random.randbytes(2) + payload[18:]
            )
        fragment = random.choice((0, 0x4000))
        extensions: tuple[int, ...] = ()
        if random.random() < 0.02:
            fragment = random.choice((0x2000, 0x2005, 0x0001, 0x8000))
            extensions = (44,)
        elif random.random() < 0.1:
            extensions = random.choice(((0,), (60,), (0, 43, 60), (43,) * 8, (60,) * 9, (60, 0)))
        return frame(
            Parts(parts.protocol, parts.src, parts.dst, payload),
            ttl=random.choice((64,) * 12 + (255, 2, 1, 0)),
            tos=random.choice((0, 0xB8)),
            identification=random.getrandbits(16),
            fragment=fragment,
            options=random.choice(
                (
                    b"",
                    b"",
                    b"",
                    b"\x01\x01\x01\x00",
                    b"\x94\x04\x00\x00" * 10,
                    b"\x44\x04\x05\x00\x01\x83\x03\x00",
                    b"\x83\x09\0\0",
                )
            ),
            extensions=extensions,
            tags=random.choice(((),) * 8 + ((0x8100,), (0x88A8,), (0x88A8, 0x8100), (0x8100, 0x8100, 0x8100))),
            padding=random.choice((b"", b"\0" * 6, b"\xee" * 18)),
        )

    def _natural_port(self, parts: Parts) -> str:
        """Where the source lives; by an uplink what lives nowhere."""
        routing = self.universe.config.routing
        source = ip_address(parts.src)
        for net in routing.networks:
            if any(source in subnet.network for subnet in net.subnets):
                return net.name
        return self.random.choice(routing.uplinks).name
