# A port that is the far side of a TAP device of this machine (linux/if_tun.h).

from libc.errno cimport EAGAIN, EINTR, EINVAL, EIO, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset, strncpy

from native.port cimport ARRIVALS, Arrival, IoPort, ROOM_FOR_ONE, count_arrival, count_departure, has_vlan_tag
from native.vnet cimport VNET_SIZE, Vnet

cdef extern from "fcntl.h" nogil:
    int c_open "open"(const char *path, int flags)
    int O_RDWR
    int O_NONBLOCK
    int O_CLOEXEC

cdef extern from "unistd.h" nogil:
    ssize_t c_read "read"(int fd, void *buffer, size_t size)
    int c_close "close"(int fd)

cdef extern from "sys/uio.h" nogil:
    ctypedef struct IoVec "struct iovec":
        void *iov_base
        size_t iov_len
    ssize_t writev(int fd, const IoVec *parts, int count)

cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <linux/if.h>
    #include <linux/if_tun.h>
    #include <string.h>
    #include <sys/ioctl.h>
    #include <unistd.h>
    #ifndef TUN_F_USO4
    #define TUN_F_USO4 0x20
    #define TUN_F_USO6 0x40
    #endif
    /* A descriptor of the device, whose name (IFNAMSIZ bytes) it writes back; -1 with errno set. */
    static inline int t1_tap_open(char *name) {
        struct ifreq request;
        unsigned offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
        int saved, fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0) return -1;
        memset(&request, 0, sizeof request);
        strncpy(request.ifr_name, name, IFNAMSIZ - 1);
        request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
        if (ioctl(fd, TUNSETIFF, &request) != 0) goto failed;
        /* Datagrams of UDP in one frame: since Linux 6.2. */
        if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)(offload | TUN_F_USO4 | TUN_F_USO6)) != 0
            && ioctl(fd, TUNSETOFFLOAD, (unsigned long)offload) != 0) goto failed;
        memcpy(name, request.ifr_name, IFNAMSIZ);
        return fd;
    failed:
        saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    """
    int IFNAMSIZ
    int tap_open "t1_tap_open"(char *name) noexcept nogil


cdef inline uint32_t tap_receive(IoPort *port, Arrival *arrivals, uint8_t *arena, uint32_t room) noexcept nogil:
    cdef uint32_t count = 0
    cdef uint32_t used = 0
    cdef ssize_t size
    cdef Arrival *arrival
    while count < ARRIVALS and room - used >= ROOM_FOR_ONE:
        size = c_read(port.fd, arena + used, ROOM_FOR_ONE)
        if size < 0:
            if errno != EAGAIN and errno != EINTR:
                port.failed = True
            break
        if size <= VNET_SIZE:
            continue
        arrival = &arrivals[count]
        memcpy(&arrival.vnet, arena + used, sizeof(Vnet))
        arrival.frame = arena + used + VNET_SIZE
        arrival.length = <uint32_t>size - VNET_SIZE
        count_arrival(port, arrival.length)
        if has_vlan_tag(arrival.frame, arrival.length):
            port.counters.rx_dropped += 1
            continue
        used += (<uint32_t>size + 63) & ~<uint32_t>63
        count += 1
    return count


cdef inline void gather(
    IoVec *parts, Vnet *plain, const uint8_t *frame, uint32_t length, const Vnet *vnet
) noexcept nogil:
    # A frame behind its header; `plain` becomes that of one that needs none.
    memset(plain, 0, sizeof(Vnet))
    parts[0].iov_base = plain if vnet == NULL else <Vnet *>vnet
    parts[0].iov_len = VNET_SIZE
    parts[1].iov_base = <void *>frame
    parts[1].iov_len = length


cdef inline bint tap_send(IoPort *port, const uint8_t *frame, uint32_t length, const Vnet *vnet) noexcept nogil:
    # False where the kernel does not know such a large frame: it has to be cut.
    cdef IoVec parts[2]
    cdef Vnet plain
    gather(parts, &plain, frame, length, vnet)
    if writev(port.fd, parts, 2) >= 0:
        count_departure(port, length)
    elif errno == EINVAL and vnet != NULL:
        return False
    else:
        # EIO: the device is down, which may change.
        port.failed = port.failed or (errno != EAGAIN and errno != EINTR and errno != EIO and errno != EINVAL)
        port.counters.tx_dropped += 1
    return True
