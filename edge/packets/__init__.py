"""Packets as people write them: ``tcp 198.51.100.99:40000 > 203.0.113.11:80 S``.

Text becomes a frame (:func:`parse_packet`, :func:`build_frame`), a frame becomes text (:func:`format_frame`,
:func:`format_endpoints`), and what is printed can be read back.  :class:`Conversation` knows what a well-behaved end of
a TCP session would send next, :func:`reply_to` what answers a packet, :func:`flow_key` which packets belong together.
``docs/cli.md`` describes the notation.
"""

from edge.packets.build import build_frame
from edge.packets.conversation import Conversation, reply_to
from edge.packets.flow import FlowKey, flow_key
from edge.packets.pieces import Pieces
from edge.packets.show import format_endpoints, format_frame
from edge.packets.text import PacketText, parse_packet

__all__ = [
    "Conversation",
    "FlowKey",
    "PacketText",
    "Pieces",
    "build_frame",
    "flow_key",
    "format_endpoints",
    "format_frame",
    "parse_packet",
    "reply_to",
]
