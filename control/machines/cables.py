"""Which interfaces the edges of this process have, and on which networks these are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from control.machines.driver import Driver, device_name
from control.planner import object_id
from control.store import Store
from edge.model import EdgeConfig
from edge.ports import PortKind, PortSpec

_UPLINK = "uplink"


class LinkProvider(Protocol):
    """Whoever knows the interfaces of edges."""

    def port(self, config: EdgeConfig, name: str) -> PortSpec:
        """What is behind a port, as :class:`edge.forwarder.Forwarder` asks.  The interface may come later."""


class Cables:
    """Lays them with ``driver``, for a control plane whose data is in ``data``.

    ``outer``: provider network -> the name of an interface of this process's network namespace that is on it, too:
    there the world outside begins.
    """

    def __init__(self, store: Store, driver: Driver, data: Path, outer: Mapping[str, str]) -> None:
        self._store = store
        self._driver = driver
        self._prefix = f"t{hashlib.sha256(bytes(data.resolve())).hexdigest()[:6]}"
        self._outer = dict(outer)
        self._there: set[str] | None = None
        self._laid: dict[str, str] = {}

    def port(self, config: EdgeConfig, name: str) -> PortSpec:
        """See LinkProvider."""
        ids = {network.name: network.id for network in config.routing.networks}
        return PortSpec(name, PortKind.LINK, self.device(config.id, ids.get(name, _UPLINK)))

    def device(self, edge_id: str, network_id: str) -> str:
        """The interface of an edge on a network, both by their ids in documents, or on its uplink."""
        return device_name(self._prefix, edge_id, network_id)

    def lay(self) -> None:
        """Every network and every interface that there should be, and no others; what was laid before and is to stay is
        left alone.  Raises StoreError, MachineError."""
        with self._store.read() as state:
            providers = {record.path: record.uid for record in state.every("provider_network")}
            networks = {record.path: record for record in state.every("network")}
            edges = state.every("edge_gateway")
        wanted = {
            self.device(object_id(edge.path), _UPLINK): providers[edge.body["provider_network"]] for edge in edges
        }
        for path, network in networks.items():
            if network.body["edge"]:
                wanted[self.device(object_id(network.body["edge"]), object_id(path))] = network.uid
        wanted |= {device: providers[path] for path, device in self._outer.items() if path in providers}
        there = {*providers.values(), *(record.uid for record in networks.values())}
        if self._there is None or self._there - there or self._laid.keys() - wanted.keys():
            self._driver.retain(list(there), list(wanted))
        self._there = there
        self._laid = {device: uid for device, uid in self._laid.items() if wanted.get(device) == uid}
        for device, network_uid in wanted.items():
            if device not in self._laid:
                self._driver.attach(network_uid, device)
                self._laid[device] = network_uid
