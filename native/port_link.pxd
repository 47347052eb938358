# A port that is an interface of this machine, by a packet socket with two rings (packet(7), linux/if_packet.h).
#
# Frames of one packet go through the rings: TPACKET_V2, because its slots are handed over one by one; a block of
# TPACKET_V3 waits until it is full or old.  Larger ones, of many segments, are too large for a slot.  They are received
# through the socket, in the order of the ring by PACKET_COPY_THRESH, and sent by a second one: what has a ring to send
# from sends nothing else.
#
# What is sent is copied by the kernel to the last byte (hdr_len is the frame's length).  Otherwise it would refer to
# the ring, and give the slot back while a receiver on the same machine is still to read from it.

from libc.errno cimport EAGAIN, EINTR, EINVAL, EMSGSIZE, ENOBUFS, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from native.port cimport (
    ARRIVALS, Arrival, IoPort, ROOM_FOR_ONE, Rings, count_arrival, count_departure, has_vlan_tag,
)
from native.port_tap cimport IoVec, c_close, gather
from native.vnet cimport VNET_SIZE, Vnet
from native.wire cimport likely, prefetch, unlikely

cdef enum:
    RING_BYTES = 8 << 20        # for what is received
    RX_SLOTS_MAX = 4096
    LINE = 64
    TX_SLOT = 27 * LINE         # at the least
    TX_SLOTS = 512
    BLOCK_SLOTS = 64
    TX_OFFSET = 32              # of the header before a frame in a slot, TPACKET2_HDRLEN without the address
    RX_HEAD = 96                # bytes of a slot before the frame, at the most
    SOCKET_BYTES = 16 << 20     # what the socket may hold, either way

cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <errno.h>
    #include <linux/filter.h>
    #include <linux/if_ether.h>
    #include <linux/if_packet.h>
    #include <string.h>
    #include <sys/mman.h>
    #include <sys/socket.h>
    #include <unistd.h>
    static inline int t1_packet_option(int fd, int name, int value) {
        return setsockopt(fd, SOL_PACKET, name, &value, sizeof value);
    }
    static inline int t1_ring(int fd, int name, uint32_t slot, uint32_t count, uint32_t block_slots) {
        struct tpacket_req request;
        request.tp_frame_size = slot;
        request.tp_frame_nr = count;
        request.tp_block_size = block_slots * slot;
        request.tp_block_nr = count / block_slots;
        return setsockopt(fd, SOL_PACKET, name, &request, sizeof request);
    }
    #ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
    #define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000
    #endif
    /* Until t1_link_listen() the socket takes nothing in: those of one interface have to become a group before. */
    static inline int t1_link_deaf(int fd) {
        struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
        struct sock_fprog program = {1, &nothing};
        return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
    }
    static inline int t1_link_listen(int fd) {
        int unused = 0;
        return setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused);
    }
    /* Joins a group, a new one if *group is 0, whose number is there then; -1 with errno set.  The first of it has
       everything until t1_link_place() says otherwise. */
    static inline int t1_link_join(int fd, int *group) {
        int kind = PACKET_FANOUT_CBPF | PACKET_FANOUT_FLAG_IGNORE_OUTGOING;
        int first = *group == 0;
        socklen_t size = sizeof *group;
        if (first) kind |= PACKET_FANOUT_FLAG_UNIQUEID;
        if (t1_packet_option(fd, PACKET_FANOUT, *group | (int)((unsigned)kind << 16)) != 0) return -1;
        if (first && getsockopt(fd, SOL_PACKET, PACKET_FANOUT, group, &size) != 0) return -1;
        *group &= 0xffff;
        return 0;
    }
    /* The program whose results are the places of a group's sockets, in the order of their joining. */
    static inline int t1_link_place(int fd, const void *code, uint16_t count) {
        struct sock_fprog program = {count, (struct sock_filter *)code};
        return setsockopt(fd, SOL_PACKET, PACKET_FANOUT_DATA, &program, sizeof program);
    }
    /* A packet socket of an interface with its rings mapped at *memory, and another at *large, of a group unless that
       is NULL; -1 with errno set. */
    static inline int t1_link_open(int ifindex, uint32_t rx_slot, uint32_t rx_count, uint32_t tx_slot,
                                   uint32_t tx_count, uint32_t block_slots, int bytes, uint64_t size,
                                   uint8_t **memory, int *large, int *group) {
        struct sockaddr_ll address;
        struct packet_mreq all;
        int saved, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) return -1;
        memset(&address, 0, sizeof address);
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL);
        address.sll_ifindex = ifindex;
        memset(&all, 0, sizeof all);
        all.mr_ifindex = ifindex;
        all.mr_type = PACKET_MR_PROMISC;
        if (t1_packet_option(fd, PACKET_VERSION, TPACKET_V2) != 0
            || t1_packet_option(fd, PACKET_VNET_HDR, 1) != 0
            || t1_packet_option(fd, PACKET_IGNORE_OUTGOING, 1) != 0
            || t1_packet_option(fd, PACKET_COPY_THRESH, 1) != 0
            || t1_packet_option(fd, PACKET_LOSS, 1) != 0) goto failed;
        /* As root they are that large, else as large as the system allows. */
        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
        if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0)
            setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
        if (t1_ring(fd, PACKET_RX_RING, rx_slot, rx_count, block_slots) != 0
            || t1_ring(fd, PACKET_TX_RING, tx_slot, tx_count, block_slots) != 0) goto failed;
        *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
        if (*memory == MAP_FAILED) goto failed;
        *large = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (*large < 0) goto mapped;
        if (setsockopt(*large, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0)
            setsockopt(*large, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
        if ((group == NULL || t1_link_deaf(fd) == 0)
            && bind(fd, (struct sockaddr *)&address, sizeof address) == 0
            && setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) == 0
            && (group == NULL || t1_link_join(fd, group) == 0)
            && t1_packet_option(*large, PACKET_VNET_HDR, 1) == 0) {
            address.sll_protocol = 0;
            if (bind(*large, (struct sockaddr *)&address, sizeof address) == 0) return fd;
        }
        saved = errno;
        close(*large);
        errno = saved;
    mapped:
        saved = errno;
        munmap(*memory, size);
        errno = saved;
    failed:
        saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    static inline uint32_t t1_page_size(void) { return (uint32_t)sysconf(_SC_PAGESIZE); }
    static inline void t1_link_unmap(uint8_t *memory, uint64_t size) { munmap(memory, size); }
    static inline uint32_t t1_slot_status(const uint8_t *slot) {
        return __atomic_load_n(&((const struct tpacket2_hdr *)slot)->tp_status, __ATOMIC_ACQUIRE);
    }
    static inline void t1_slot_hand_over(uint8_t *slot, uint32_t status) {
        __atomic_store_n(&((struct tpacket2_hdr *)slot)->tp_status, status, __ATOMIC_RELEASE);
    }
    static inline int t1_slot_tagged(const uint8_t *slot, uint32_t status) {
        return (status & TP_STATUS_VLAN_VALID) && (((const struct tpacket2_hdr *)slot)->tp_vlan_tci & 0xfff);
    }
    static inline ssize_t t1_link_recv(int fd, void *buffer, size_t size) {
        return recv(fd, buffer, size, MSG_DONTWAIT | MSG_TRUNC);
    }
    static inline ssize_t t1_link_send(int fd, struct iovec *parts, int count) {
        struct msghdr message;
        memset(&message, 0, sizeof message);
        message.msg_iov = parts;
        message.msg_iovlen = count;
        return sendmsg(fd, &message, MSG_DONTWAIT);
    }
    static inline int t1_link_kick(int fd) { return (int)send(fd, NULL, 0, MSG_DONTWAIT); }
    static inline void t1_link_clear_error(int fd) {
        int error;
        socklen_t size = sizeof error;
        (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    /* Packets that found no free slot since the last time. */
    static inline uint32_t t1_link_drops(int fd) {
        struct tpacket_stats counts;
        socklen_t size = sizeof counts;
        return getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &counts, &size) == 0 ? counts.tp_drops : 0;
    }
    """
    ctypedef struct SlotHeader "struct tpacket2_hdr":
        uint32_t tp_len
        uint32_t tp_snaplen
        uint16_t tp_mac
    enum:
        TP_STATUS_KERNEL
        TP_STATUS_USER
        TP_STATUS_COPY
        TP_STATUS_AVAILABLE
        TP_STATUS_SEND_REQUEST
    int packet_link_open "t1_link_open"(
        int ifindex, uint32_t rx_slot, uint32_t rx_count, uint32_t tx_slot, uint32_t tx_count, uint32_t block_slots,
        int size, uint64_t length, uint8_t **memory, int *large, int *group) noexcept nogil
    int link_listen "t1_link_listen"(int fd) noexcept nogil
    int link_place "t1_link_place"(int fd, const void *code, uint16_t count) noexcept nogil
    uint32_t page_size "t1_page_size"() noexcept nogil
    void link_unmap "t1_link_unmap"(uint8_t *memory, uint64_t size) noexcept nogil
    uint32_t slot_status "t1_slot_status"(const uint8_t *slot) noexcept nogil
    void slot_hand_over "t1_slot_hand_over"(uint8_t *slot, uint32_t status) noexcept nogil
    bint slot_tagged "t1_slot_tagged"(const uint8_t *slot, uint32_t status) noexcept nogil
    ssize_t link_recv "t1_link_recv"(int fd, void *buffer, size_t size) noexcept nogil
    ssize_t link_sendmsg "t1_link_send"(int fd, IoVec *parts, int count) noexcept nogil
    int link_kick "t1_link_kick"(int fd) noexcept nogil
    void link_clear_error "t1_link_clear_error"(int fd) noexcept nogil
    uint32_t link_drops "t1_link_drops"(int fd) noexcept nogil


cdef inline uint32_t slot_size(uint32_t wanted, uint32_t page) noexcept nogil:
    # Of at least so many bytes.  64 slots, a block, are whole pages, so that no block ends with a gap; and a slot is an
    # odd number of lines, or of what it takes with larger pages: its beginnings are spread over the sets of a cache.
    cdef uint32_t unit = max(<uint32_t>LINE, page // BLOCK_SLOTS)
    return ((wanted + unit - 1) // unit | 1) * unit


cdef inline int link_open(IoPort *port, int ifindex, uint32_t mtu, int *group) noexcept nogil:
    # 0, or -1 with errno set.  `group`: of sockets among which the kernel deals out what comes in, as soon as
    # link_listen() is called; 0: a new one, whose number it becomes.  NULL: it has everything, at once.
    cdef Rings *rings = &port.rings
    cdef uint32_t page = page_size()
    rings.tx_slot = slot_size(TX_SLOT, page)
    rings.rx_slot = max(slot_size(mtu + 14 + RX_HEAD, page), rings.tx_slot)
    rings.rx_count = max(
        min(<uint32_t>RX_SLOTS_MAX, <uint32_t>RING_BYTES // rings.rx_slot // BLOCK_SLOTS * BLOCK_SLOTS),
        <uint32_t>BLOCK_SLOTS)
    rings.size = <uint64_t>rings.rx_slot * rings.rx_count + <uint64_t>rings.tx_slot * TX_SLOTS
    port.fd = packet_link_open(
        ifindex, rings.rx_slot, rings.rx_count, rings.tx_slot, TX_SLOTS, BLOCK_SLOTS, SOCKET_BYTES, rings.size,
        &rings.memory, &rings.large_fd, group)
    if port.fd < 0:
        return -1
    rings.tx = rings.memory + <uint64_t>rings.rx_slot * rings.rx_count
    port.longest = mtu + 14
    return 0


cdef inline void link_close(IoPort *port) noexcept nogil:
    link_unmap(port.rings.memory, port.rings.size)
    c_close(port.rings.large_fd)


cdef inline uint32_t link_receive_large(IoPort *port, Arrival *arrival, uint8_t *buffer) noexcept nogil:
    # The frame of a slot that had no room for it; its length, 0 where the kernel did not keep it either.
    cdef ssize_t size = link_recv(port.fd, buffer, ROOM_FOR_ONE)
    if size <= VNET_SIZE or size > ROOM_FOR_ONE:
        return 0
    memcpy(&arrival.vnet, buffer, sizeof(Vnet))
    arrival.frame = buffer + VNET_SIZE
    arrival.length = <uint32_t>size - VNET_SIZE
    return arrival.length


cdef inline uint32_t link_receive(IoPort *port, Arrival *arrivals, uint8_t *arena, uint32_t room) noexcept nogil:
    cdef Rings *rings = &port.rings
    cdef uint32_t count = 0
    cdef uint32_t used = 0
    cdef uint32_t status
    cdef uint8_t *slot
    cdef const SlotHeader *header
    cdef Arrival *arrival
    while rings.held < min(<uint32_t>ARRIVALS, rings.rx_count) and room - used >= ROOM_FOR_ONE:
        slot = rings.memory + <uint64_t>rings.rx_slot * rings.rx_at
        status = slot_status(slot)
        if not status & TP_STATUS_USER:
            break
        rings.rx_at = 0 if rings.rx_at + 1 == rings.rx_count else rings.rx_at + 1
        rings.held += 1
        prefetch(rings.memory + <uint64_t>rings.rx_slot * rings.rx_at)
        prefetch(rings.memory + <uint64_t>rings.rx_slot * rings.rx_at + 64)
        header = <const SlotHeader *>slot
        arrival = &arrivals[count]
        if likely(header.tp_snaplen == header.tp_len):
            arrival.frame = slot + header.tp_mac
            arrival.length = header.tp_len
            memcpy(&arrival.vnet, slot + header.tp_mac - VNET_SIZE, sizeof(Vnet))
        elif status & TP_STATUS_COPY and link_receive_large(port, arrival, arena + used):
            used += (arrival.length + VNET_SIZE + 63) & ~<uint32_t>63
        else:
            port.counters.rx_dropped += 1
            continue
        count_arrival(port, arrival.length)
        if unlikely(slot_tagged(slot, status) or has_vlan_tag(arrival.frame, arrival.length)):
            port.counters.rx_dropped += 1
            continue
        count += 1
    return count


cdef inline void link_release(IoPort *port) noexcept nogil:
    cdef Rings *rings = &port.rings
    cdef uint32_t at = rings.rx_at + rings.rx_count - rings.held
    while rings.held:
        slot_hand_over(rings.memory + <uint64_t>rings.rx_slot * (at % rings.rx_count), TP_STATUS_KERNEL)
        at += 1
        rings.held -= 1


cdef inline void link_flush(IoPort *port) noexcept nogil:
    # Has the kernel take what stands in the ring; what it has no room for now stays for the next time.
    cdef Rings *rings = &port.rings
    cdef const uint8_t *newest
    if rings.unsent == 0:
        return
    if link_kick(port.fd) < 0 and errno != EAGAIN and errno != ENOBUFS and errno != EINTR:
        # The device is down.  Nothing of this is sent later, when nobody waits for it any more.
        link_forget(port)
        return
    newest = rings.tx + <uint64_t>rings.tx_slot * ((rings.tx_at + TX_SLOTS - 1) % TX_SLOTS)
    if slot_status(newest) != TP_STATUS_SEND_REQUEST:
        rings.unsent = 0


cdef inline void link_forget(IoPort *port) noexcept nogil:
    # Takes frames out of the ring that the kernel has not looked at.  It goes on at the oldest of them.
    cdef Rings *rings = &port.rings
    cdef uint8_t *slot
    while rings.unsent:
        slot = rings.tx + <uint64_t>rings.tx_slot * ((rings.tx_at + TX_SLOTS - 1) % TX_SLOTS)
        if slot_status(slot) != TP_STATUS_SEND_REQUEST:
            rings.unsent = 0
            return
        slot_hand_over(slot, TP_STATUS_AVAILABLE)
        rings.tx_at = (rings.tx_at + TX_SLOTS - 1) % TX_SLOTS
        rings.unsent -= 1
        port.counters.tx_dropped += 1
        port.counters.tx_packets -= 1
        port.counters.tx_bytes -= (<SlotHeader *>slot).tp_len - VNET_SIZE


cdef inline void link_send_small(IoPort *port, const uint8_t *frame, uint32_t length) noexcept nogil:
    cdef Rings *rings = &port.rings
    cdef uint8_t *slot = rings.tx + <uint64_t>rings.tx_slot * rings.tx_at
    cdef Vnet *vnet = <Vnet *>(slot + TX_OFFSET)
    if unlikely(slot_status(slot) != TP_STATUS_AVAILABLE):
        link_flush(port)
        if slot_status(slot) != TP_STATUS_AVAILABLE:
            port.counters.tx_dropped += 1
            return
    memset(vnet, 0, sizeof(Vnet))
    vnet.hdr_len = <uint16_t>length
    memcpy(slot + TX_OFFSET + VNET_SIZE, frame, length)
    (<SlotHeader *>slot).tp_len = length + VNET_SIZE
    slot_hand_over(slot, TP_STATUS_SEND_REQUEST)
    rings.tx_at = 0 if rings.tx_at + 1 == TX_SLOTS else rings.tx_at + 1
    rings.unsent += 1
    count_departure(port, length)


cdef inline bint link_send_large(IoPort *port, const uint8_t *frame, uint32_t length, const Vnet *vnet) noexcept nogil:
    cdef IoVec parts[2]
    cdef Vnet plain
    gather(parts, &plain, frame, length, vnet)
    link_flush(port)
    if link_sendmsg(port.rings.large_fd, parts, 2) >= 0:
        count_departure(port, length)
    elif errno == EINVAL and vnet != NULL:
        return False
    else:
        port.counters.tx_dropped += 1
    return True


cdef inline bint link_send(IoPort *port, const uint8_t *frame, uint32_t length, const Vnet *vnet) noexcept nogil:
    # False where the kernel does not know such a large frame: it has to be cut.
    if unlikely(vnet == NULL and length > port.longest):
        port.counters.tx_dropped += 1
        return True
    if likely(vnet == NULL and length <= TX_SLOT - TX_OFFSET - VNET_SIZE):
        link_send_small(port, frame, length)
        return True
    return link_send_large(port, frame, length, vnet)
