# What lies on the links behind ports: subnets, addresses that the edge answers for, and the neighbour that a packet has
# to be given to.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

ctypedef struct NextHop:
    uint64_t hi
    uint64_t lo
    bint via                # through this router; else the destination itself is the neighbour

ctypedef struct LinkSubnet:
    uint8_t family
    bint has_own
    bint has_gateway
    bint has_broadcast
    uint64_t first_hi
    uint64_t first_lo
    uint64_t last_hi
    uint64_t last_lo
    uint64_t own_hi         # the edge's own address in it
    uint64_t own_lo
    uint64_t gateway_hi     # the provider's router
    uint64_t gateway_lo

ctypedef struct Reach:
    # A range of one family, and the router that leads to it.
    uint8_t family
    uint64_t first_hi
    uint64_t first_lo
    uint64_t last_hi
    uint64_t last_lo
    uint64_t hop_hi
    uint64_t hop_lo

ctypedef struct Link:
    # Rows first .. last - 1 of three tables.
    uint32_t first_subnet
    uint32_t last_subnet
    uint32_t first_answered
    uint32_t last_answered
    uint32_t first_detour
    uint32_t last_detour
