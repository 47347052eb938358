"""The link layer of a served edge: a table of neighbours and what keeps it true."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from native.hop cimport Link, NextHop, Reach
from native.kinds cimport PORT_ISOLATED
from native.linkway cimport link_input, link_output
from native.memory cimport release, reserve
from native.neighbour cimport (
    HELD_MAX, HELD_SIZE, Held, L_DROPPED, L_PASS, LC_LINK_BROADCAST, LC_LOOPED, LC_OTHER_STATION, LC_OTHER_VLAN,
    LINK_COUNTS, N_FAILED, N_INCOMPLETE, NEIGHBOUR_BUCKETS, NEIGHBOUR_STATES, NEIGHBOURS_MAX, NO_HELD, NO_NEIGHBOUR,
    OFFLOAD_SIZE, OUTBOX_BYTES, LinkPort, Neighbour, Neighbours, Outbox,
)
from native.neighbour_arp cimport arp_input
from native.neighbour_nd cimport is_nd, nd_input
from native.neighbour_send cimport send_or_hold
from native.neighbour_table cimport bucket_of, find_neighbour, remove_neighbour
from native.neighbour_tick cimport ROUNDS, begin_round, tick
from native.nexthop cimport HOP_GROUP, HOP_NONE, is_gateway, next_hop, subnet_of
from native.program cimport Program, ProgramData
from native.route cimport is_multicast
from native.wire cimport be16, be32, be64

cdef enum:
    ARP = 0x0806
    IPV4 = 0x0800
    IPV6 = 0x86dd
    MAX_TAGS = 2


# ------------------------------------------------------------------ frames

cdef bint is_for_one(const ProgramData *program, uint16_t port, uint16_t ethertype, const uint8_t *l3,
                     uint32_t length) noexcept nogil:
    # Is this IP packet addressed to one station?
    cdef uint64_t address
    if ethertype == IPV6:
        return length >= 40 and l3[24] != 0xff
    if ethertype != IPV4 or length < 20:
        return False
    address = be32(l3 + 16)
    if is_multicast(4, 0, address):
        return False
    subnet = subnet_of(program, port, 4, 0, address)
    return subnet == NULL or not subnet.has_broadcast or address != subnet.last_lo


cdef int link_arrive(
    Neighbours *table, const ProgramData *program, uint16_t port, const uint8_t *mac, const uint8_t *frame,
    uint32_t length, uint64_t now, Outbox *outbox
) noexcept nogil:
    # Any frame of 14 bytes or more.
    cdef LinkPort *state = &table.ports[port]
    cdef uint32_t offset = 14
    cdef uint16_t ethertype = be16(frame + 12)
    cdef int tags = 0
    if memcmp(frame + 6, mac, 6) == 0:
        state.counts[<int>LC_LOOPED] += 1
        return L_DROPPED
    if not frame[0] & 1 and memcmp(frame, mac, 6) != 0:
        state.counts[<int>LC_OTHER_STATION] += 1
        return L_DROPPED
    while (ethertype == 0x8100 or ethertype == 0x88a8) and tags < MAX_TAGS and length >= offset + 4:
        if be16(frame + offset) & 0xfff:
            state.counts[<int>LC_OTHER_VLAN] += 1
            return L_DROPPED
        ethertype = be16(frame + offset + 2)        # a tag for VLAN 0 bears a priority only
        offset += 4
        tags += 1
    if ethertype == ARP:
        return arp_input(table, program, port, mac, frame, frame + offset, length - offset, now, outbox)
    if ethertype == IPV6 and is_nd(frame + offset, length - offset):
        tags = nd_input(table, program, port, mac, frame + 6, frame + offset, length - offset, now, outbox)
        if tags != L_PASS:
            return tags
    if frame[0] & 1 and is_for_one(program, port, ethertype, frame + offset, length - offset):
        state.counts[<int>LC_LINK_BROADCAST] += 1
        return L_DROPPED
    return L_PASS


cdef int link_resolve(
    Neighbours *table, const ProgramData *program, uint16_t port, uint8_t *frame, uint32_t length, uint64_t now,
    Outbox *outbox, const uint8_t *offload
) noexcept nogil:
    return send_or_hold(table, program, port, frame, length, now, outbox, offload)


cdef void neighbours_tick(Neighbours *table, const ProgramData *program, uint64_t now, Outbox *outbox) noexcept nogil:
    # To be called again and again, also when nothing comes in; too often does no harm.
    tick(table, program, now, outbox)


# ------------------------------------------------------------------- ports

cdef void clear_port(LinkPort *port) noexcept nogil:
    cdef int i
    memset(port, 0, sizeof(LinkPort))
    for i in range(NEIGHBOUR_STATES):
        port.head[i] = NO_NEIGHBOUR
        port.tail[i] = NO_NEIGHBOUR


cdef int neighbours_reserve(Neighbours *table, uint32_t ports) noexcept nogil:
    # Room for so many ports; 0, or -1 with nothing changed.
    cdef LinkPort *larger
    cdef LinkPort *spare
    cdef uint32_t i
    if ports <= table.port_room:
        return 0
    larger = <LinkPort *>malloc(ports * sizeof(LinkPort))
    spare = <LinkPort *>malloc(ports * sizeof(LinkPort))
    if larger == NULL or spare == NULL:
        free(larger)
        free(spare)
        return -1
    for i in range(ports):
        if i < table.port_room:
            larger[i] = table.ports[i]
        else:
            clear_port(&larger[i])
    free(table.ports)
    free(table.spare)
    table.ports = larger
    table.spare = spare
    table.port_room = ports
    return 0


cdef void announce_port(Neighbours *table, uint16_t port, uint64_t now) noexcept nogil:
    table.ports[port].rounds = ROUNDS
    begin_round(&table.ports[port], now)


cdef void link_up(Neighbours *table, uint16_t port, const uint8_t *mac, uint64_t now) noexcept nogil:
    # The port works, or works again, with this address: it begins to announce what it answers for.
    memcpy(table.ports[port].mac, mac, 6)
    table.ports[port].up = True
    announce_port(table, port, now)


cdef void link_down(Neighbours *table, uint16_t port) noexcept nogil:
    # Nobody is known there any more; counters stay.
    cdef int state
    for state in range(NEIGHBOUR_STATES):
        while table.ports[port].head[state] != NO_NEIGHBOUR:
            remove_neighbour(table, table.ports[port].head[state])
    table.ports[port].up = False
    table.ports[port].rounds = 0


cdef bint same_answers(const ProgramData *old, uint16_t old_port, const ProgramData *new, uint16_t port) noexcept nogil:
    cdef const Link *before = &old.links[old_port]
    cdef const Link *after = &new.links[port]
    cdef uint32_t count = after.last_answered - after.first_answered
    return count == before.last_answered - before.first_answered and memcmp(
        &old.answered[before.first_answered], &new.answered[after.first_answered], count * sizeof(Reach)) == 0


cdef class NeighbourTable:
    """Neighbours of one edge.  ``seed`` starts what is random: where addresses are kept.

    Ports are numbers of the program that runs, MAC addresses six bytes, times nanoseconds.  Methods that make frames
    give them as a list of (port, OutKind, frame, offload).
    """

    def __cinit__(self, seed: int):
        cdef uint32_t i
        memset(&self.data, 0, sizeof(Neighbours))
        memset(&self.outbox, 0, sizeof(Outbox))
        self.data.seed = (seed * 2 + 1) & 0xffffffffffffffff
        self.data.pool = <Neighbour *>calloc(NEIGHBOURS_MAX, sizeof(Neighbour))
        self.data.buckets = <uint16_t *>malloc(NEIGHBOUR_BUCKETS * sizeof(uint16_t))
        self.data.held = <Held *>calloc(HELD_MAX, sizeof(Held))
        self.data.held_bytes = <uint8_t *>reserve(<size_t>HELD_MAX * HELD_SIZE)
        self.outbox.bytes = <uint8_t *>malloc(OUTBOX_BYTES)
        if (self.data.pool == NULL or self.data.buckets == NULL or self.data.held == NULL
                or self.data.held_bytes == NULL or self.outbox.bytes == NULL):
            raise MemoryError("no memory for neighbours")
        memset(self.data.buckets, 0xff, NEIGHBOUR_BUCKETS * sizeof(uint16_t))
        for i in range(NEIGHBOURS_MAX):
            self.data.pool[i].next = <uint16_t>(i + 1 if i + 1 < NEIGHBOURS_MAX else NO_NEIGHBOUR)
        for i in range(HELD_MAX):
            self.data.held[i].next = <uint16_t>(i + 1 if i + 1 < HELD_MAX else NO_HELD)
        self.data.oldest_held = NO_HELD
        self.data.newest_held = NO_HELD

    def __dealloc__(self):
        free(self.data.pool)
        free(self.data.buckets)
        free(self.data.held)
        free(self.data.ports)
        free(self.data.spare)
        free(self.outbox.bytes)
        release(self.data.held_bytes, <size_t>HELD_MAX * HELD_SIZE)

    cdef int _port(self, port, mac=b"\0\0\0\0\0\0") except -1:
        if not 0 <= port < self.data.port_room:
            raise IndexError(f"there is no port {port}")
        if len(mac) != 6:
            raise ValueError("a MAC address has six bytes")
        return port

    cdef list _empty_outbox(self):
        cdef uint32_t i
        cdef list frames = []
        for i in range(self.outbox.count):
            out = &self.outbox.frames[i]
            frames.append((out.port, out.kind, <bytes>(self.outbox.bytes + out.at)[:out.length],
                           <bytes>(<uint8_t *>out.offload)[:OFFLOAD_SIZE]))
        self.outbox.count = 0
        self.outbox.used = 0
        return frames

    # ------------------------------------------------------------- programs

    def reserve(self, Program program not None) -> None:
        """Make room for a program's ports.  Raises MemoryError, nothing having changed."""
        if neighbours_reserve(&self.data, program.data.port_count) != 0:
            raise MemoryError(f"no memory for {program.data.port_count} ports")

    def share(self) -> None:
        """Several workers will use it at once."""
        self.data.shared = True

    def swap(self, Program old, Program new not None, list port_map, uint64_t now_ns) -> None:
        """Follow a new program, for which there is room: ``port_map`` as of :meth:`native.engine.Engine.swap`.

        Neighbours stay with their ports; a port that answers for other addresses than before announces them.
        """
        cdef uint32_t i
        cdef uint32_t room = self.data.port_room
        cdef LinkPort *ports = self.data.spare
        cdef Neighbour *one
        cdef uint32_t bucket
        for i in range(len(port_map)):
            if port_map[i] is None:
                link_down(&self.data, i)
        for i in range(room):
            clear_port(&ports[i])
        for i in range(len(port_map)):
            if port_map[i] is not None:
                ports[<uint32_t>port_map[i]] = self.data.ports[i]
        self.data.spare = self.data.ports
        self.data.ports = ports
        memset(self.data.buckets, 0xff, NEIGHBOUR_BUCKETS * sizeof(uint16_t))
        for i in range(NEIGHBOURS_MAX):
            one = &self.data.pool[i]
            if not one.family:
                continue
            one.port = port_map[one.port]
            one.pinned = is_gateway(&new.data, one.port, one.family, one.hi, one.lo)
            bucket = bucket_of(&self.data, one.port, one.family, one.hi, one.lo)
            one.next = self.data.buckets[bucket]
            self.data.buckets[bucket] = <uint16_t>i
        for i in range(len(port_map)):
            if port_map[i] is not None and self.data.ports[<uint32_t>port_map[i]].up and not same_answers(
                    &old.data, <uint16_t>i, &new.data, port_map[i]):
                announce_port(&self.data, port_map[i], now_ns)

    # ---------------------------------------------------------------- ports

    def is_up(self, port: int) -> bool:
        """Can frames pass by a port?"""
        return bool(self.data.ports[self._port(port)].up)

    def link_up(self, port: int, bytes mac not None, uint64_t now_ns) -> None:
        """The port works, with this address: it announces what it answers for."""
        self._port(port, mac)
        link_up(&self.data, port, <const uint8_t *>mac, now_ns)

    def link_down(self, port: int) -> None:
        """The port works no longer: its neighbours are forgotten."""
        self._port(port)
        link_down(&self.data, port)

    # --------------------------------------------------------------- frames

    def input(self, Program program not None, port: int, bytes frame not None, uint64_t now_ns) -> tuple:
        """A frame from a port that is up: (LinkVerdict, frames)."""
        cdef uint16_t number = self._port(port)
        verdict = link_input(&self.data, &program.data, number, self.data.ports[number].mac, frame,
                             <uint32_t>len(frame), now_ns, &self.outbox)
        return verdict, self._empty_outbox()

    def output(self, Program program not None, port: int, bytes frame not None, uint64_t now_ns,
               bytes offload=None) -> tuple:
        """An untagged frame with an IPv4 or IPv6 packet that leaves by a port: (LinkVerdict, frame with its MAC
        addresses, frames)."""
        cdef uint16_t number = self._port(port)
        cdef bytearray copy = bytearray(frame)
        cdef uint8_t *start = copy
        cdef const uint8_t *extra = NULL
        if len(frame) < (34 if frame[12:14] == b"\x08\0" else 54):
            raise ValueError("the frame ends before its IP header does")
        if offload is not None and len(offload) != OFFLOAD_SIZE:
            raise ValueError(f"offload has {OFFLOAD_SIZE} bytes")
        if offload is not None:
            extra = offload
        verdict = link_output(&self.data, &program.data, number, self.data.ports[number].mac, start,
                              <uint32_t>len(frame), now_ns, &self.outbox,
                              extra)
        return verdict, bytes(copy), self._empty_outbox()

    def tick(self, Program program not None, uint64_t now_ns) -> list:
        """What time brings: frames."""
        neighbours_tick(&self.data, &program.data, now_ns, &self.outbox)
        return self._empty_outbox()

    # ----------------------------------------------------------------- view

    def neighbours(self, uint64_t now_ns) -> list:
        """Everybody in the table: [(port, family, address, MAC or None, NeighbourState, ns in that state)], sorted."""
        cdef uint32_t i
        rows = []
        for i in range(NEIGHBOURS_MAX):
            one = &self.data.pool[i]
            if one.family:
                unknown = one.state == N_INCOMPLETE or one.state == N_FAILED
                rows.append((one.port, one.family, (<object>one.hi) << 64 | one.lo,
                             None if unknown else <bytes>(<uint8_t *>one.mac)[:6], one.state, now_ns - one.since))
        return sorted(rows)

    def next_hop(self, Program program not None, port: int, bytes frame not None):
        """Whom a frame with an IP packet that leaves by a port is given to: (family, address, MAC or None,
        NeighbourState or None where nobody has asked for it); family 0: nobody leads there; None: a group."""
        cdef const uint8_t *start = frame
        cdef uint16_t number = self._port(port)
        cdef uint8_t family
        cdef uint16_t place
        cdef NextHop hop
        if len(frame) < 34 or (start[14] >> 4 == 6 and len(frame) < 54):
            raise ValueError("this frame holds no IP packet")
        family = 6 if start[14] >> 4 == 6 else 4
        found = next_hop(
            &program.data, number, family, be64(start + 38) if family == 6 else 0,
            be64(start + 46) if family == 6 else be32(start + 30), &hop)
        if found == HOP_GROUP:
            return None
        if found == HOP_NONE or program.data.ports[number].kind == PORT_ISOLATED:
            return 0, 0, None, None
        place = find_neighbour(&self.data, number, family, hop.hi, hop.lo)
        address = (<object>hop.hi) << 64 | hop.lo
        if place == NO_NEIGHBOUR:
            return family, address, None, None
        one = &self.data.pool[place]
        unknown = one.state == N_INCOMPLETE or one.state == N_FAILED
        return family, address, None if unknown else <bytes>(<uint8_t *>one.mac)[:6], one.state

    def counts(self, port: int) -> list:
        """Counters of a port by LinkCount."""
        cdef int i
        cdef uint16_t number = self._port(port)
        return [self.data.ports[number].counts[i] for i in range(LINK_COUNTS)]

    def states(self, port: int) -> list:
        """Numbers of a port's neighbours by NeighbourState."""
        cdef int i
        cdef uint16_t number = self._port(port)
        return [self.data.ports[number].by_state[i] for i in range(NEIGHBOUR_STATES)]
