from enum import IntEnum

class TcpState(IntEnum):
    TCP_CLOSED = 0
    TCP_SYN_SENT = 2
    TCP_ESTABLISHED = 4
    TCP_CLOSING = 7
    TCP_FIN_WAIT_2 = 9
    TCP_TIME_WAIT = 10

class UdpState(IntEnum):
    UDP_NO_TRAFFIC = 0
    UDP_SINGLE = 1
    UDP_MULTIPLE = 2
