"""Numbering anew what the columns of flat rules name: without what none of them names, and equal ones once."""

from array import array

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from native.memory cimport block

cdef enum:
    MOST_PARTS = 2              # of what is named: a set of addresses has one for each family
    MOST_FIELDS = 4             # columns of one part

ctypedef struct Field:
    const uint8_t *data
    size_t width                # bytes of an item

ctypedef struct Part:
    const uint32_t *offset      # what is named i has the items offset[i] .. offset[i + 1]
    uint32_t fields
    Field field[MOST_FIELDS]


cdef uint64_t content_hash(const Part *parts, uint32_t count, uint32_t which) noexcept nogil:
    cdef uint64_t found = 0
    cdef uint32_t word
    cdef const uint8_t *data
    cdef uint32_t i
    cdef uint32_t j
    cdef size_t at
    for i in range(count):
        found = (found ^ (parts[i].offset[which + 1] - parts[i].offset[which])) * 0x9e3779b97f4a7c15ULL
        for j in range(parts[i].fields):
            data = parts[i].field[j].data + parts[i].offset[which] * parts[i].field[j].width
            at = (parts[i].offset[which + 1] - parts[i].offset[which]) * parts[i].field[j].width
            while at:
                memcpy(&word, data, 4)
                found = (found ^ word) * 0x9e3779b97f4a7c15ULL
                found ^= found >> 29
                data += 4
                at -= 4
    return found


cdef bint is_equal(const Part *parts, uint32_t count, uint32_t one, uint32_t other) noexcept nogil:
    cdef size_t size
    cdef size_t width
    cdef const uint8_t *data
    cdef uint32_t i
    cdef uint32_t j
    for i in range(count):
        size = parts[i].offset[one + 1] - parts[i].offset[one]
        if size != parts[i].offset[other + 1] - parts[i].offset[other]:
            return False
        for j in range(parts[i].fields):
            data = parts[i].field[j].data
            width = parts[i].field[j].width
            if size and memcmp(data + parts[i].offset[one] * width, data + parts[i].offset[other] * width,
                               size * width) != 0:
                return False
    return True


cdef uint32_t number_anew(
    const Part *parts, uint32_t count, uint32_t **columns, uint32_t width, size_t rows, uint32_t unset,
    uint32_t *number, uint32_t *table, size_t mask, uint32_t *kept
) noexcept nogil:
    # How many are kept. `number` and `table` are zeros: new number plus one, by the old one and by content.
    cdef uint32_t found = 0
    cdef uint32_t which
    cdef size_t slot
    cdef size_t row
    cdef uint32_t i
    for row in range(rows):
        for i in range(width):
            which = columns[i][row]
            if which == unset:
                continue
            if number[which] == 0:
                slot = content_hash(parts, count, which) & mask
                while table[slot] and not is_equal(parts, count, which, kept[table[slot] - 1]):
                    slot = (slot + 1) & mask
                if table[slot] == 0:
                    kept[found] = which
                    found += 1
                    table[slot] = found
                number[which] = table[slot]
            columns[i][row] = number[which] - 1
    return found


cdef object gathered(
    const Part *part, uint32_t field, str typecode, const uint32_t *kept, uint32_t count, size_t total
):
    # The items of what is kept, in its order.
    cdef size_t width = part.field[field].width
    cdef const uint8_t *data = part.field[field].data
    cdef uint8_t[::1] view
    cdef uint8_t *out
    cdef size_t size
    cdef uint32_t i
    found = array(typecode, bytes(total * width))
    if total == 0:
        return found
    view = memoryview(found).cast("B")
    out = &view[0]
    with nogil:
        for i in range(count):
            size = (part.offset[kept[i] + 1] - part.offset[kept[i]]) * width
            memcpy(out, data + part.offset[kept[i]] * width, size)
            out += size
    return found


def interned(parts, list columns not None, uint32_t unset):
    """What rules name, such as sets of addresses, in the order in which they first name it: equal ones once, and
    nothing that none of them names.

    ``parts`` are pairs of offsets, array("I"), and the columns of the items that these are about, as (array, items of
    it that make one): what has the number i has the items offset[i] to offset[i + 1] of every part. ``columns`` are
    array("I") of the rules' numbers, looked at row by row and changed in place; ``unset`` names nothing. Returns the
    parts anew, without how many items make one. Raises ValueError for columns of different lengths, and for a number
    that names nothing.
    """
    cdef Part part[MOST_PARTS]
    cdef uint32_t *column[8]
    cdef uint32_t[::1] view
    cdef const uint32_t[::1] offset
    cdef const uint8_t[::1] octets
    cdef list keep = []
    cdef list views = []
    cdef uint32_t count = len(parts)
    cdef uint32_t width = len(columns)
    cdef uint32_t total = len(parts[0][0]) - 1
    cdef size_t rows = len(columns[0])
    cdef size_t room = 16
    cdef uint32_t *kept
    cdef uint32_t *number
    cdef uint32_t *table
    cdef uint32_t found
    cdef uint32_t i
    cdef uint32_t j
    cdef size_t row
    cdef uint32_t most
    if count > MOST_PARTS or width > 8:
        raise ValueError(f"{count} parts, {width} columns: there is no room for so many")
    for i in range(count):
        offset = parts[i][0]
        if <uint32_t>offset.shape[0] != total + 1 or len(parts[i][1]) > MOST_FIELDS:
            raise ValueError("every part has to say something of all that is named")
        views.append(offset)
        part[i].offset = &offset[0]
        part[i].fields = len(parts[i][1])
        for j in range(part[i].fields):
            data, items = parts[i][1][j]
            part[i].field[j].width = data.itemsize * items
            part[i].field[j].data = NULL
            if len(data) != offset[total] * items:
                raise ValueError("offsets and items are not of one whole")
            if len(data):
                octets = memoryview(data).cast("B")
                views.append(octets)
                part[i].field[j].data = &octets[0]
    for i in range(width):
        if <size_t>len(columns[i]) != rows:
            raise ValueError("every column has one number for each rule")
        column[i] = NULL
        if rows:
            view = columns[i]
            views.append(view)
            column[i] = &view[0]
            most = 0
            with nogil:
                for row in range(rows):
                    if view[row] != unset:
                        most = max(most, view[row] + 1)
            if most > total:
                raise ValueError(f"there is no number {most - 1} of {total}")
    while room < 2 * <size_t>total + 2:
        room *= 2
    kept = <uint32_t *>block(keep, 4 * <size_t>total + 4)
    number = <uint32_t *>block(keep, 4 * <size_t>total + 4)
    table = <uint32_t *>block(keep, 4 * room)
    with nogil:
        found = number_anew(part, count, column, width, rows, unset, number, table, room - 1, kept)
    made = []
    for i in range(count):
        offsets = array("I", bytes(4 * (<size_t>found + 1)))
        view = offsets
        with nogil:
            for j in range(found):
                view[j + 1] = view[j] + part[i].offset[kept[j] + 1] - part[i].offset[kept[j]]
        made.append((offsets, [
            gathered(&part[i], j, data.typecode, kept, found, view[found])
            for j, (data, _) in enumerate(parts[i][1])
        ]))
    return made
