"""Packets in text for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from edge.packets.names import ERROR_TYPES, FLAGS, ICMP_V4, ICMP_V6, QUERY_TYPES

ADDRESSES = {4: st.ip_addresses(v=4), 6: st.ip_addresses(v=6)}
PORTS = st.integers(0, 65535)


@st.composite
def packet_texts(draw: st.DrawFn, *, version: int | None = None, quoted: bool = False) -> str:
    """Packet text in its printed form."""
    version = version or draw(st.sampled_from((4, 6)))
    src, dst = draw(ADDRESSES[version]), draw(ADDRESSES[version])
    left, right = str(src), str(dst)
    kind = draw(st.sampled_from(("tcp", "udp", "icmp", "esp", "proto=132")))
    words: list[str] = []
    if kind in ("tcp", "udp"):
        form = "{}:{}" if version == 4 else "[{}]:{}"
        left, right = form.format(src, draw(PORTS)), form.format(dst, draw(PORTS))
    if kind == "tcp":
        flags = draw(st.sets(st.sampled_from(FLAGS)))
        words.append("".join(sorted(flags, key=FLAGS.index)) or ".")
    takes_length = True
    if kind == "icmp":
        names = ICMP_V4 if version == 4 else ICMP_V6
        first_names = {message: name for name, message in reversed(names.items())}
        (icmp_type, code), name = draw(st.sampled_from(sorted(first_names.items())))
        kind = "icmp" if version == 4 else "icmp6"
        words.append(name)
        if icmp_type in QUERY_TYPES[version]:
            words += [f"id={draw(PORTS)}", f"seq={draw(PORTS)}"]
        if (icmp_type, code) == (3, 4) and version == 4:
            words.append(f"mtu={draw(PORTS)}")
        if icmp_type == 2 and version == 6:
            words.append(f"mtu={draw(st.integers(0, 2**32 - 1))}")
        if icmp_type in ERROR_TYPES[version]:
            takes_length = False
            if not quoted and draw(st.booleans()):
                words.append(f'of="{draw(packet_texts(version=version, quoted=True))}"')
    length = draw(st.integers(0, 1400)) if takes_length else 0
    words += [f"len={length}"] if length else []
    ttl = draw(st.sampled_from((64, 64, 0, 1, 62, 255)))
    words += [f"ttl={ttl}"] if ttl != 64 else []
    return " ".join((kind, left, ">", right, *words))
