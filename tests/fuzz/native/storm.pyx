"""Frames by the million: a mutator and the engine's own pipeline in one loop without Python.

Every frame lies against a page that may not be touched, before it or behind it, so that one byte too far ends the
process in any build.  What went into the engine since it was made stands in a log that outlives the process.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE, mmap, mprotect, munmap

from native import control
from native.answer cimport ANSWER_ROOM, pseudo_header
from native.engine cimport Engine, Result, State
from native.link cimport MAX_FRAME
from native.packet cimport K_OTHER, K_UDP, PARSED, Packet, parse
from native.pipeline cimport pipeline
from native.program cimport ProgramData, side_of
from native.record cimport NO_PORT, Recorder
from native.session cimport set_hash
from native.stats cimport R_FRAGMENT_HELD, REASONS, VERDICTS, V_ALLOW
from native.wire cimport be16, be32, fold, put16, put32, sum_bytes

cdef enum:
    PAGE = 4096
    AREA = 20 * PAGE            # room for ANSWER_ROOM bytes between two guards
    ROOM = 2048                 # largest frame that is kept for later
    SEEDS = 4096
    RECENT = 64
    EVENT = 14                  # bytes before a frame in the log, see tests/fuzz/story.py

ctypedef struct Kept:
    uint32_t size
    uint16_t port
    uint8_t left                # it came out of the edge: its reply makes sense
    uint8_t data[ROOM]

cdef uint8_t[8] FLAGS = [0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x01]
cdef uint8_t[12] BYTES = [0, 1, 2, 4, 6, 17, 44, 58, 60, 0x45, 0x7f, 0xff]
cdef uint8_t[12] PLACES = [2, 4, 6, 8, 9, 12, 16, 20, 22, 32, 33, 40]     # from the IP header on


cdef uint8_t *guarded() noexcept nogil:
    # AREA bytes between two pages that may not be touched; NULL without memory.
    cdef uint8_t *whole = <uint8_t *>mmap(NULL, AREA + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                                          -1, 0)
    if whole == <uint8_t *>MAP_FAILED:
        return NULL
    if mprotect(whole, PAGE, PROT_NONE) or mprotect(whole + PAGE + AREA, PAGE, PROT_NONE):
        munmap(whole, AREA + 2 * PAGE)
        return NULL
    return whole + PAGE


cdef int transport_sum(const Packet *packet) noexcept nogil:
    # 1: the transport checksum is right, 0: wrong, -1: there is none to be had.
    cdef uint32_t size = packet.l4_len
    cdef uint64_t total = 0
    if packet.error != PARSED or packet.kind == K_OTHER:
        return -1
    if packet.kind == K_UDP:
        size = be16(packet.l4 + 4)
        if be16(packet.l4 + 6) == 0:
            return -1
    if packet.proto != 1:
        total = pseudo_header(packet.l3, packet.family, packet.proto, size)
    return fold(total + sum_bytes(packet.l4, size)) == 0xffff


cdef class Storm:
    """Sends frames through ``engine``.

    ``log``: shared memory, ``log[0:8]`` counts frames, ``log[8:16]`` the bytes of the log, which begins at 16 and whose
    first byte is the caller's.  ``pairs[verdict * REASONS + reason]`` says which results there are.  ``found`` is the
    address of a number that grows whenever code runs for the first time, 0 where nothing counts that.
    """

    cdef Engine engine
    cdef uint8_t[::1] log
    cdef bytes pairs
    cdef const uint8_t *allowed
    cdef uint32_t *found
    cdef uint64_t random
    cdef Kept *kept             # SEEDS seeds, then RECENT recent frames
    cdef uint32_t seeds
    cdef uint64_t turn          # recent frames so far
    cdef uint8_t *frame_area
    cdef uint8_t *answer_area
    cdef uint8_t *work
    cdef uint32_t size
    cdef uint16_t port
    cdef uint64_t done          # frames that the engine has taken from this storm and before it
    cdef const char *problem

    def __cinit__(self, Engine engine not None, uint8_t[::1] log, bytes pairs, uint64_t seed, size_t found=0):
        if len(pairs) != <int>VERDICTS * <int>REASONS:
            raise ValueError("pairs is a table of all verdicts and reasons")
        self.engine, self.log, self.pairs = engine, log, pairs
        self.allowed = pairs
        self.found = <uint32_t *>found
        self.random = seed * 0x9E3779B97F4A7C15ULL | 1
        self.frame_area = guarded()
        self.answer_area = guarded()
        self.work = <uint8_t *>calloc(1, MAX_FRAME + ROOM)
        self.kept = <Kept *>calloc(SEEDS + RECENT, sizeof(Kept))
        if self.frame_area == NULL or self.answer_area == NULL or self.work == NULL or self.kept == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.frame_area != NULL:
            munmap(self.frame_area - PAGE, AREA + 2 * PAGE)
        if self.answer_area != NULL:
            munmap(self.answer_area - PAGE, AREA + 2 * PAGE)
        free(self.work)
        free(self.kept)

    def renew(self, Engine engine not None):
        """Goes on with another engine, fresh or not; seeds stay, recent frames are forgotten."""
        self.engine = engine
        self.done = sum(control.totals(engine)[0])
        self.turn = 0

    def add_seed(self, uint16_t port, const uint8_t[::1] frame):
        """One more frame to make others of; frames that are too large, or too many, are left out."""
        if 0 < frame.shape[0] <= ROOM and self.seeds < SEEDS:
            self.keep(&self.kept[self.seeds], &frame[0], <uint32_t>frame.shape[0], port, 0)
            self.seeds += 1

    @property
    def seed_count(self):
        """Seeds, with those that were found on the way."""
        return self.seeds

    def play(self, uint16_t port, const uint8_t[::1] frame, uint64_t advance_ns):
        """One given frame, placed before a guard and behind one; what is wrong, or None.  Writes no log."""
        self.size = <uint32_t>frame.shape[0]
        self.port = port
        if self.size:
            memcpy(self.work, &frame[0], self.size)
        self.one(advance_ns)
        return None if self.problem == NULL else self.problem.decode()

    def run(self, uint32_t count, bint conversing):
        """Up to ``count`` frames; ends early at the first that is wrong, or when the log is full.  What is wrong, or
        None.  ``conversing``: frames also answer what left, and time passes."""
        cdef uint32_t _i
        cdef uint64_t advance
        cdef uint64_t before
        if self.seeds == 0:
            raise ValueError("without seeds there is nothing to mutate")
        with nogil:
            for _i in range(count):
                self.draw(conversing)
                advance = self.pause() if conversing else 1000
                if not self.note(advance):
                    break
                before = 0 if self.found == NULL else self.found[0]
                self.one(advance)
                if self.found != NULL and self.found[0] != before and self.size <= ROOM and self.size:
                    self.keep(&self.kept[self.seeds if self.seeds < SEEDS else self.below(SEEDS)],
                              self.work, self.size, self.port, 0)
                    self.seeds += self.seeds < SEEDS
                if self.problem != NULL:
                    break
        return None if self.problem == NULL else self.problem.decode()

    # -------------------------------------------------------------- chance

    cdef inline uint32_t below(self, uint32_t limit) noexcept nogil:
        # xorshift64*
        self.random ^= self.random >> 12
        self.random ^= self.random << 25
        self.random ^= self.random >> 27
        return <uint32_t>(((self.random * 0x2545F4914F6CDD1DULL) >> 32) * limit >> 32)

    cdef inline uint64_t pause(self) noexcept nogil:
        cdef uint32_t drawn = self.below(1000)
        if drawn < 600:
            return 0
        if drawn < 970:
            return self.below(50_000_000)
        if drawn < 998:
            return <uint64_t>self.below(40) * 250_000_000
        return <uint64_t>self.below(8000) * 1_000_000_000

    # -------------------------------------------------------------- frames

    cdef void keep(self, Kept *kept, const uint8_t *data, uint32_t size, uint16_t port, uint8_t left) noexcept nogil:
        kept.size, kept.port, kept.left = size, port, left
        memcpy(kept.data, data, size)

    cdef void draw(self, bint conversing) noexcept nogil:
        # The next frame, into `work`, and its port.
        cdef const Kept *base = &self.kept[self.below(self.seeds)]
        cdef uint32_t recent = <uint32_t>self.turn if self.turn < RECENT else RECENT
        cdef uint32_t ports = self.engine.program.data.port_count
        cdef uint32_t steps
        if conversing and recent and self.below(100) < 55:
            base = &self.kept[SEEDS + self.below(recent)]
        self.size = base.size
        self.port = base.port
        memcpy(self.work, base.data, base.size)
        if base.left and self.below(100) < 85:
            if self.below(8) == 0:
                self.quote()
            else:
                self.turn_round()
        if self.port >= ports or self.below(12) == 0:
            self.port = <uint16_t>self.below(ports)
        steps = self.below(8)
        if steps < 5:               # else as it is
            for _ in range(1 + self.below(1 + steps)):
                self.change()
            if self.below(4):
                self.repair()

    cdef uint32_t ip_header(self, uint32_t *at) noexcept nogil:
        # The IP version of an untagged frame that has a header, else 0; where its transport header begins.
        if self.size >= 34 and be16(self.work + 12) == 0x0800:
            at[0] = 14 + (self.work[14] & 15) * 4
            return 4
        if self.size >= 54 and be16(self.work + 12) == 0x86dd:
            at[0] = 54
            return 6
        return 0

    cdef void turn_round(self) noexcept nogil:
        # Makes the answer to a packet of it.
        cdef uint8_t *l3 = self.work + 14
        cdef uint8_t other[16]
        cdef uint32_t at
        cdef uint32_t version = self.ip_header(&at)
        cdef uint32_t bytes = 4 if version == 4 else 16
        cdef uint8_t *address = l3 + (12 if version == 4 else 8)
        cdef uint8_t proto = l3[9] if version == 4 else l3[6]
        cdef uint8_t *l4
        cdef uint32_t acked
        cdef uint32_t length
        if version == 0 or at + 8 > self.size:
            return
        memcpy(other, address, bytes)
        memmove(address, address + bytes, bytes)
        memcpy(address + bytes, other, bytes)
        if version == 4:
            l3[8] = 64
        else:
            l3[7] = 64
        l4 = self.work + at
        if proto == 6 or proto == 17:
            memcpy(other, l4, 2)
            memmove(l4, l4 + 2, 2)
            memcpy(l4 + 2, other, 2)
        if proto == 6 and at + 20 <= self.size:
            length = self.size - at
            length -= (l4[12] >> 4) * 4 if <uint32_t>(l4[12] >> 4) * 4 <= length else length
            acked = be32(l4 + 8)
            put32(l4 + 8, be32(l4 + 4) + length + (l4[13] & 1) + (l4[13] >> 1 & 1))
            put32(l4 + 4, acked if l4[13] & 16 else self.below(0xffffffff))
            l4[13] = 0x12 if l4[13] & 0x12 == 2 and self.below(8) else FLAGS[self.below(8)]
        elif proto == 1 and l4[0] == 8:
            l4[0] = 0
        elif proto == 58 and l4[0] == 128:
            l4[0] = 129
        self.repair()

    cdef void quote(self) noexcept nogil:
        # Makes an ICMP error about a packet of it, from where the packet went.
        cdef uint8_t *l3 = self.work + 14
        cdef uint32_t at
        cdef uint32_t version = self.ip_header(&at)
        cdef uint32_t header = 20 if version == 4 else 40
        cdef uint32_t quoted = self.size - 14
        if version == 0:
            return
        if quoted > ROOM - 64:
            quoted = ROOM - 64
        if self.below(3) == 0:
            quoted = self.below(quoted + 1)
        memmove(l3 + header + 8, l3, quoted)
        memset(l3, 0, header)
        memset(l3 + header, 0, 8)
        if version == 4:
            l3[0], l3[8], l3[9] = 0x45, 64, 1
            memcpy(l3 + 12, l3 + header + 24, 4)
            memcpy(l3 + 16, l3 + header + 20, 4)
            l3[header] = 3 if self.below(2) else 11
            l3[header + 1] = <uint8_t>self.below(14)
        else:
            l3[0], l3[6], l3[7] = 0x60, 58, 64
            memcpy(l3 + 8, l3 + header + 32, 16)
            memcpy(l3 + 24, l3 + header + 16, 16)
            l3[header] = <uint8_t>(1 + self.below(4))
        self.size = 14 + header + 8 + quoted
        self.repair()

    cdef void change(self) noexcept nogil:
        # One thing about the frame is another.
        cdef uint32_t at = self.below(self.size) if self.size else 0
        cdef uint32_t count
        cdef const Kept *other
        cdef uint32_t which = self.below(12)
        if self.size > 14 and which < 6:
            at = 14 + self.below(self.size - 14 if self.size < 94 else 80)
        if which == 0:
            if self.size:
                self.work[at] = <uint8_t>self.below(256)
        elif which == 1:
            if self.size:
                self.work[at] ^= <uint8_t>1 << self.below(8)
        elif which == 2:
            if self.size:
                self.work[at] = BYTES[self.below(12)]
        elif which == 3:
            if at + 2 <= self.size:
                put16(self.work + at, <uint16_t>(self.size - at + self.below(5) - 2))
        elif which < 7:             # a field of the headers
            at = 14 + PLACES[self.below(12)]
            if at < self.size:
                self.work[at] = BYTES[self.below(12)] if self.below(2) else <uint8_t>(self.work[at] + self.below(5) - 2)
        elif which == 7:            # shorter
            self.size = at
        elif which == 8:            # longer, once in a while as long as can be
            count = self.below(24) if self.below(50) else self.below(MAX_FRAME)
            if self.size + count > MAX_FRAME:
                count = MAX_FRAME - self.size
            memset(self.work + self.size, <int>self.below(256), count)
            self.size += count
        else:                       # a piece of another frame, at its place or here
            other = &self.kept[self.below(self.seeds)]
            at = self.below(other.size)
            count = 1 + self.below(other.size - at if other.size - at < 40 else 40)
            if at + count <= self.size:
                memcpy(self.work + at, other.data + at, count)

    cdef void repair(self) noexcept nogil:
        # Lengths and checksums as they should be, so that what else is wrong gets further.
        cdef uint8_t *l3 = self.work + 14
        cdef uint32_t at
        cdef uint32_t version = self.ip_header(&at)
        cdef uint32_t length
        cdef uint32_t place = 0
        cdef uint64_t total
        cdef uint8_t proto
        if version == 0 or self.size > 65549:
            return
        if self.below(8):
            put16(l3 + (2 if version == 4 else 4), <uint16_t>(self.size - 14 if version == 4 else self.size - 54))
        proto = l3[9] if version == 4 else l3[6]
        length = self.size - at if at < self.size else 0
        if proto == 17 and length >= 8 and self.below(8):
            put16(self.work + at + 4, <uint16_t>length)
        place = 16 if proto == 6 else 6 if proto == 17 else 2 if proto == 1 or proto == 58 else 0
        if place and length >= place + 2 and self.below(8):
            put16(self.work + at + place, 0)
            total = 0 if proto == 1 else pseudo_header(l3, <uint8_t>version, proto, length)
            put16(self.work + at + place, <uint16_t>~fold(total + sum_bytes(self.work + at, length)))
        if version == 4 and at <= self.size and at >= 34:
            put16(l3 + 10, 0)
            put16(l3 + 10, <uint16_t>~fold(sum_bytes(l3, at - 14)))

    cdef bint note(self, uint64_t advance) noexcept nogil:
        # The event into the log, before anything happens; False when there is no room.
        cdef uint64_t used = (<uint64_t *>&self.log[8])[0]
        cdef uint8_t *at = &self.log[16] + used
        if 16 + used + EVENT + self.size > <uint64_t>self.log.shape[0]:
            return False
        at[0] = 0
        at[1] = <uint8_t>self.port
        memcpy(at + 2, &advance, 8)
        memcpy(at + 10, &self.size, 4)
        memcpy(at + EVENT, self.work, self.size)
        (<uint64_t *>&self.log[8])[0] = used + EVENT + self.size
        return True

    # -------------------------------------------------------------- the edge

    cdef void one(self, uint64_t advance) noexcept nogil:
        # The frame in `work` through the engine, and everything that has to hold afterwards.
        cdef State *state = &self.engine.state
        cdef const ProgramData *program = &self.engine.program.data
        cdef uint8_t side = side_of(program, self.port)
        cdef uint8_t *frame = self.frame_area + (0 if self.random & 7 == 0 else AREA - self.size)
        cdef uint8_t *answer = self.answer_area
        cdef uint32_t sessions = state.table.count
        cdef Packet packet
        cdef Packet left
        cdef Recorder recorder
        cdef Result result
        cdef int summed
        cdef uint8_t ttl
        cdef bint is_piece
        memcpy(frame, self.work, self.size)
        recorder.count = 0
        state.now += advance
        self.done += 1
        self.log_count()
        parse(&packet, frame, self.size, side, False)
        set_hash(&state.table, &packet)
        summed = transport_sum(&packet)
        ttl = packet.ttl if packet.error == PARSED else 0
        is_piece = packet.error == R_FRAGMENT_HELD
        pipeline(state, program, &packet, self.port, False, answer, &result,
                 &recorder if self.random & 3 == 0 else NULL)
        if result.verdict >= VERDICTS or result.reason >= REASONS:
            self.problem = b"a verdict or a reason that does not exist"
        elif not self.allowed[result.verdict * <int>REASONS + result.reason]:
            self.problem = b"a verdict that does not go with its reason"
        elif state.table.count > sessions and state.table.count > program.max_sessions:
            self.problem = b"more sessions than allowed"
        elif state.table.half_open > state.table.count:
            self.problem = b"more half-open sessions than sessions"
        elif result.out_port == NO_PORT:
            if result.verdict == V_ALLOW:
                self.problem = b"allowed, and nothing leaves"
        elif result.out_port >= program.port_count:
            self.problem = b"leaves by a port that does not exist"
        elif not is_piece and not self.inside(&result, frame):
            self.problem = b"what leaves lies in no buffer of this packet"
        else:
            parse(&left, result.frame, result.length, 0, False)
            if left.error != PARSED:
                self.problem = b"what leaves cannot be read"
            elif result.length != 14 + left.ip_len:
                self.problem = b"what leaves has another length than it says"
            elif result.verdict == V_ALLOW and not is_piece and left.ttl + 1 != ttl:
                self.problem = b"forwarded without taking one hop"
            elif (summed == 1 if result.verdict == V_ALLOW else left.kind != K_OTHER) and transport_sum(&left) == 0:
                self.problem = b"what leaves has a wrong transport checksum, and did not before"
            elif result.length <= ROOM:
                self.keep(&self.kept[SEEDS + self.turn % RECENT], result.frame, result.length, result.out_port,
                          not result.hairpin)
                self.turn += 1

    cdef inline void log_count(self) noexcept nogil:
        (<uint64_t *>&self.log[0])[0] += 1

    cdef bint inside(self, const Result *result, const uint8_t *frame) noexcept nogil:
        cdef const uint8_t *end = result.frame + result.length
        if result.verdict == V_ALLOW:
            return result.frame >= frame and end <= frame + self.size
        return result.frame == self.answer_area and result.length <= ANSWER_ROOM

    def check_totals(self):
        """Do the engine's counters add up to the frames it took?  What is wrong, or None."""
        verdicts, reasons, _, _, created, peak, live, *_ = control.totals(self.engine)
        if sum(verdicts) != self.done or sum(reasons) != self.done:
            return f"{self.done} frames, {sum(verdicts)} verdicts, {sum(reasons)} reasons"
        return None if live <= peak <= created else f"{live} sessions open, {peak} at most, {created} in all"
