"""A tenant of :class:`tests.control.office.Office` whose machines are namespaces and whose edge forwards."""

from __future__ import annotations

from pathlib import Path

from control import gather
from control.checking import checked_plan
from control.machines.cables import Cables
from control.machines.keeper import Keeper
from control.machines.netns.driver import NetnsDriver
from edge.forwarder import Forwarder
from edge.runtime import Edge
from tests.closing import Closing
from tests.control.office import ORG, REGION, Office
from tests.control.samples import plant
from tests.control.world import World
from tests.netns.lab import Space
from tests.netns.machines import remove_all
from tests.waiting import wait_for

EDGE = f"{ORG}/edges/T1"
OUTER = {f"{REGION}/providerNetworks/INET": "tout"}


class Cloud(Closing):
    """``with Cloud(DATA) as cloud:``, drawn in tests/netns/machines.py; the edge publishes 10.20.0.10 port 80."""

    def __init__(self, data: Path) -> None:
        self.middle, self.outside = Space("edge"), Space("outside")
        self.forwarder: Forwarder | None = None
        self.world = World(data)
        try:
            self.office = Office(self.world)
            with self.middle.inside():
                self.driver = NetnsDriver(data)
            self.cables = Cables(self.world.store, self.driver, data, OUTER)
            self.world.keeper = Keeper(self.world.store, self.driver, self.cables.lay)
            self.world.keeper.connect()
            self.world.keeper.adopt()
            publish(self.world)
            go_outside(self.middle, self.outside)
        except BaseException:
            self.close()
            raise

    def forward(self) -> None:
        """The edge as it is planned, its ports up."""
        with self.world.store.read() as state:
            _, loaded = checked_plan(gather.inputs(state, EDGE), {})
        self.forwarder = forwarder = Forwarder(Edge(loaded.config), [], self.cables.port)
        with self.middle.inside():
            forwarder.start()
        wait_for("the ports are up", lambda: all(port.up for port in forwarder.ports.values()))

    def curl(self) -> str:
        """What somebody outside gets of the first public address."""
        return curl(self.outside)

    def close(self) -> None:
        """Leave nothing."""
        if self.forwarder is not None:
            self.forwarder.stop()
        if hasattr(self, "driver"):
            remove_all(self.driver)
            self.driver.close()
        self.world.close()
        for space in (self.middle, self.outside):
            space.remove()


def curl(outside: Space) -> str:
    """What somebody outside gets of the first public address."""
    return outside.run("curl", "-s", "-m", "2", "http://203.0.113.10/", check=False)


def publish(world: World) -> None:
    """10.20.0.10 has a web server, everybody behind the edge may go out."""
    plant(
        world, "nat_rule", EDGE, "web", display_name="web", type="DNAT", external_addresses="203.0.113.10",
        internal_addresses="10.20.0.10", dnat_external_port="80", application_port_profile="systemProfiles/HTTP",
    )  # fmt: skip
    plant(
        world, "nat_rule", EDGE, "internet", display_name="internet", type="SNAT", external_addresses="203.0.113.10",
        internal_addresses="10.20.0.0/24", priority=100,
    )  # fmt: skip
    plant(
        world, "firewall_rule", EDGE, "in", display_name="in", action_value="ALLOW", direction="IN_OUT",
        destination_firewall_ip_addresses=["10.20.0.10"], application_port_profiles=["systemProfiles/HTTP"],
    )  # fmt: skip
    plant(
        world, "firewall_rule", EDGE, "out", display_name="out", action_value="ALLOW",
        source_firewall_ip_addresses=["10.20.0.0/24"],
    )  # fmt: skip


def go_outside(middle: Space, outside: Space) -> None:
    """The interface that the control plane was told to make is the provider's router."""
    middle.run("ip", "link", "set", "tout", "netns", outside.name)
    outside.run("ip", "address", "add", "203.0.113.1/24", "dev", "tout")
    outside.run("ip", "link", "set", "tout", "up")
