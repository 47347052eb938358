# FTP's commands and replies that name an endpoint (RFC 959 4.1.2 and 4.2, RFC 2428), read and written.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy

from native.wire cimport be32, be64, put32, put64

cdef extern from "arpa/inet.h" nogil:
    int inet_pton(int family, const char *text, void *out)
    const char *inet_ntop(int family, const void *address, char *out, unsigned int size)
    int AF_INET
    int AF_INET6

cdef enum:
    FTP_LINE_MAX = 512          # bytes of payload that are looked at
    FTP_PORT_MIN = 1024         # lower ports are somebody's service (RFC 2577 4)
    ADDRESS_TEXT_MAX = 45
    ENDPOINT_TEXT_MAX = 64      # what an endpoint's text takes at most, and room to write it

cdef enum Form:
    FORM_PORT = 0               # h1,h2,h3,h4,p1,p2
    FORM_EPRT = 1               # net d address d port
    FORM_227 = 2                # as PORT
    FORM_229 = 3                # port

ctypedef struct Command:
    uint8_t form
    uint8_t delimiter           # of EPRT and 229
    uint16_t port
    uint32_t begin              # the endpoint's text in the payload: from `begin` up to `end`
    uint32_t end
    uint64_t hi                 # the address it names; 229 names none
    uint64_t lo


cdef inline bint begins(const uint8_t *text, uint32_t end, const char *word) noexcept nogil:
    # With these four characters, letters in either case?  `word` is in capitals.
    cdef uint32_t i
    cdef uint8_t letter
    if end < 4:
        return False
    for i in range(4):
        letter = text[i]
        if 97 <= letter <= 122:
            letter -= 32
        if letter != <uint8_t>word[i]:
            return False
    return True


cdef inline bint read_number(
    const uint8_t *text, uint32_t end, uint32_t *at, uint32_t digits, int stop, uint32_t *value
) noexcept nogil:
    # A decimal number of one up to `digits` digits, which ends before the character `stop` at the latest.
    cdef uint32_t first = at[0]
    value[0] = 0
    while at[0] < end and 48 <= text[at[0]] <= 57 and text[at[0]] != stop:
        if at[0] - first == digits:
            return False
        value[0] = value[0] * 10 + text[at[0]] - 48
        at[0] += 1
    return at[0] > first


cdef inline bint read_six(const uint8_t *text, uint32_t end, uint32_t *at, Command *command) noexcept nogil:
    # h1,h2,h3,h4,p1,p2
    cdef uint32_t value
    cdef uint64_t all_six = 0
    cdef int i
    command.begin = at[0]
    for i in range(6):
        if i:
            if at[0] == end or text[at[0]] != 44:       # a comma
                return False
            at[0] += 1
        if not read_number(text, end, at, 3, -1, &value) or value > 255:
            return False
        all_six = all_six << 8 | value
    command.end = at[0]
    command.hi = 0
    command.lo = all_six >> 16
    command.port = <uint16_t>all_six
    return True


cdef inline bint read_address(const uint8_t *text, uint32_t size, uint8_t family, Command *command) noexcept nogil:
    cdef char buffer[ADDRESS_TEXT_MAX + 1]
    cdef uint8_t address[16]
    if size > ADDRESS_TEXT_MAX or memchr(text, 0, size) != NULL:
        return False
    memcpy(buffer, text, size)
    buffer[size] = 0
    if inet_pton(AF_INET if family == 4 else AF_INET6, buffer, address) != 1:
        return False
    command.hi = 0 if family == 4 else be64(address)
    command.lo = be32(address) if family == 4 else be64(address + 8)
    return True


cdef inline bint read_port(const uint8_t *text, uint32_t end, uint32_t *at, Command *command) noexcept nogil:
    # port d
    cdef uint32_t port
    if not read_number(text, end, at, 5, command.delimiter, &port) or port > 65535:
        return False
    command.port = <uint16_t>port
    command.end = at[0]
    if at[0] == end or text[at[0]] != command.delimiter:
        return False
    at[0] += 1
    return True


cdef inline bint read_delimiter(const uint8_t *text, uint32_t end, uint32_t at, Command *command) noexcept nogil:
    if at >= end or not 33 <= text[at] <= 126:
        return False
    command.delimiter = text[at]
    return True


cdef inline bint read_extended(
    const uint8_t *text, uint32_t end, uint32_t *at, uint8_t family, Command *command
) noexcept nogil:
    # d net d address d port d
    cdef uint32_t first
    if not read_delimiter(text, end, at[0], command):
        return False
    command.begin = at[0] + 1
    first = at[0] + 3
    if (first >= end or text[first - 2] != (49 if family == 4 else 50) or text[first - 2] == command.delimiter
            or text[first - 1] != command.delimiter):
        return False
    at[0] = first
    while at[0] < end and text[at[0]] != command.delimiter:
        at[0] += 1
    if at[0] == end or not read_address(text + first, at[0] - first, family, command):
        return False
    at[0] += 1
    return read_port(text, end, at, command)


cdef inline bint read_extended_reply(
    const uint8_t *text, uint32_t end, uint32_t *at, Command *command
) noexcept nogil:
    # d d d port d
    if not read_delimiter(text, end, at[0], command) or end - at[0] < 3:
        return False
    if text[at[0] + 1] != command.delimiter or text[at[0] + 2] != command.delimiter:
        return False
    at[0] += 3
    command.begin = at[0]
    return read_port(text, end, at, command)


cdef inline bint behind_bracket(const uint8_t *text, uint32_t end, uint32_t *at) noexcept nogil:
    # Moves behind the first bracket of the line.
    while at[0] < end:
        at[0] += 1
        if text[at[0] - 1] == 40:
            return True
    return False


cdef inline bint read_line(
    const uint8_t *text, uint32_t end, uint8_t family, bint reply, Command *command
) noexcept nogil:
    # The four forms, `text` being a line up to `end`.
    cdef uint32_t at = 5 if not reply else 4
    if not reply and begins(text, end, b"PORT") and end > 4 and text[4] == 32:
        command.form = FORM_PORT
        return family == 4 and read_six(text, end, &at, command) and at == end
    if not reply and begins(text, end, b"EPRT") and end > 4 and text[4] == 32:
        command.form = FORM_EPRT
        return read_extended(text, end, &at, family, command) and at == end
    if reply and begins(text, end, b"227 "):
        command.form = FORM_227
        return (family == 4 and behind_bracket(text, end, &at) and read_six(text, end, &at, command)
                and at < end and text[at] == 41)
    if reply and begins(text, end, b"229 "):
        command.form = FORM_229
        return (behind_bracket(text, end, &at) and read_extended_reply(text, end, &at, command)
                and at < end and text[at] == 41)
    return False


cdef inline bint read_command(
    const uint8_t *payload, uint32_t size, uint8_t family, bint reply, Command *command
) noexcept nogil:
    # What the first line of a payload says, if it is a whole line and one of the four; `reply`: the server sent it.
    cdef const uint8_t *feed = <const uint8_t *>memchr(payload, 10, size)
    cdef uint32_t end
    if feed == NULL:
        return False
    command.delimiter = 0
    end = <uint32_t>(feed - payload)
    if end and payload[end - 1] == 13:
        end -= 1
    return read_line(payload, end, family, reply, command) and command.port >= FTP_PORT_MIN


cdef inline uint32_t write_number(uint8_t *out, uint32_t value) noexcept nogil:
    # Decimal, without leading zeros; the length.
    cdef uint32_t power = 10
    cdef uint32_t length = 1
    cdef uint32_t at
    while power <= value:
        power *= 10
        length += 1
    at = length
    while at:
        at -= 1
        out[at] = <uint8_t>(48 + value % 10)
        value //= 10
    return length


cdef inline uint32_t write_six(uint8_t *out, uint64_t lo, uint16_t port) noexcept nogil:
    cdef uint64_t all_six = lo << 16 | port
    cdef uint32_t length = 0
    cdef int i
    for i in range(6):
        if i:
            out[length] = 44
            length += 1
        length += write_number(out + length, <uint32_t>(all_six >> (40 - 8 * i)) & 255)
    return length


cdef inline uint32_t write_address(uint8_t *out, uint8_t family, uint64_t hi, uint64_t lo) noexcept nogil:
    cdef uint8_t address[16]
    cdef uint32_t length = 0
    if family == 4:
        put32(address, <uint32_t>lo)
    else:
        put64(address, hi)
        put64(address + 8, lo)
    inet_ntop(AF_INET if family == 4 else AF_INET6, address, <char *>out, ADDRESS_TEXT_MAX + 1)
    while out[length] != 0:
        length += 1
    return length


cdef inline uint32_t write_endpoint(
    const Command *command, uint8_t family, uint64_t hi, uint64_t lo, uint16_t port, uint8_t *out
) noexcept nogil:
    # What a command says in place of its endpoint's text to name this one: the length, at most ENDPOINT_TEXT_MAX.
    # 0: its delimiter would stand in it.
    cdef uint32_t net = 0
    cdef uint32_t length = 0
    if command.form == FORM_PORT or command.form == FORM_227:
        return write_six(out, lo, port)
    if command.form == FORM_EPRT:
        net = 2
        out[0] = 49 if family == 4 else 50
        out[1] = command.delimiter
        length = net + write_address(out + net, family, hi, lo)
        if memchr(out + net, command.delimiter, length - net) != NULL:
            return 0
        out[length] = command.delimiter
        length += 1
    net = length
    length += write_number(out + length, port)
    return 0 if memchr(out + net, command.delimiter, length - net) != NULL else length
