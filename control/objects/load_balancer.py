"""Load balancing: pools of servers, and the virtual services that share out what comes to them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from control.objects.reading import Host, Name, NoName, ShortText
from control.objects.values import Description, DisplayName, Value

MAX_POOLS = MAX_SERVICES = 1_000

Port = Annotated[int, Field(ge=1, le=65_535)]


class PoolMember(Value):
    """A server; without a port it is asked at the port that the client asked for."""

    ip_address: Host
    port: Port | None = None
    ratio: Annotated[int, Field(ge=1, le=20)] = 1
    enabled: bool = True


class HealthMonitor(Value):
    """How a pool finds out who is there."""

    type: Literal["HTTP", "HTTPS", "TCP", "UDP", "PING"]


class PersistenceProfile(Value):
    """How a client stays with a server; ``value``: the cookie's or header's name."""

    type: Literal["CLIENT_IP", "HTTP_COOKIE", "CUSTOM_HTTP_HEADER", "APP_COOKIE", "TLS"]
    value: ShortText = ""


class LoadBalancerPool(Value):
    """Servers.  A graceful timeout in minutes, -1 for no end."""

    display_name: DisplayName
    description: Description = ""
    enabled: bool = True
    algorithm: Literal[
        "LEAST_CONNECTIONS", "ROUND_ROBIN", "CONSISTENT_HASH", "FASTEST_RESPONSE", "LEAST_LOAD", "FEWEST_SERVERS",
        "RANDOM", "FEWEST_TASKS", "CORE_AFFINITY",
    ] = "LEAST_CONNECTIONS"  # fmt: skip
    default_port: Port = 80
    graceful_timeout_period: Annotated[int, Field(ge=-1, le=7_200)] = 1
    passive_monitoring_enabled: bool = True
    health_monitors: Annotated[tuple[HealthMonitor, ...], Field(max_length=16)] = ()
    members: Annotated[tuple[PoolMember, ...], Field(max_length=100)] = ()
    member_group: NoName = ""
    persistence_profile: PersistenceProfile | None = None

    @model_validator(mode="after")
    def _members_or_group(self) -> LoadBalancerPool:
        if self.members and self.member_group:
            raise ValueError("a pool has members or a member_group, not both")
        return self


class ServicePort(Value):
    """Ports of a virtual service; no ``port_end``: one port."""

    port_start: Port
    port_end: Port | None = None
    tcp_udp_profile: Literal["TCP_PROXY", "TCP_FAST_PATH", "UDP_FAST_PATH"] = "TCP_PROXY"

    @model_validator(mode="after")
    def _in_order(self) -> ServicePort:
        if self.port_end is not None and self.port_end < self.port_start:
            raise ValueError("the ports end before they start")
        return self


class VirtualService(Value):
    """An address and ports behind which a pool stands."""

    display_name: DisplayName
    description: Description = ""
    enabled: bool = True
    application_profile: Literal["HTTP", "L4"] = "L4"
    virtual_ip_address: Host
    service_ports: Annotated[tuple[ServicePort, ...], Field(min_length=1, max_length=10)]
    load_balancer_pool: Name
    transparent_mode_enabled: bool = False

    @model_validator(mode="after")
    def _http_by_proxy(self) -> VirtualService:
        if self.application_profile == "HTTP" and any(p.tcp_udp_profile != "TCP_PROXY" for p in self.service_ports):
            raise ValueError("HTTP needs the tcp_udp_profile TCP_PROXY")
        return self
