"""IPsec tunnels."""

from __future__ import annotations

from control.access.roles import Permission
from control.kinds.kind import Change, Kind
from control.kinds.on_edge import check_count
from control.objects.ipsec import MAX_TUNNELS, IpsecTunnel


def _rules(change: Change) -> None:
    if change.value is None:
        return
    check_count(MAX_TUNNELS, change)
    if not change.value.pre_shared_key and not (change.before and "pre_shared_key" in change.before.sealed):
        raise change.wrong("pre_shared_key", "expected a key: the tunnel authenticates by PSK")


IPSEC_TUNNEL = Kind(
    name="ipsec_tunnel",
    form="orgs/*/edges/*/ipsecTunnels/*",
    service="IpsecService",
    noun="IpsecTunnel",
    plural="IpsecTunnels",
    words="IPsec VPN Tunnel",
    model=IpsecTunnel,
    read=Permission.RESOURCES_READ,
    write=Permission.NETWORKS_WRITE,
    rules=_rules,
    secrets=frozenset({"pre_shared_key"}),
)
