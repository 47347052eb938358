"""t1edge's control plane: tenants, networks, virtual machines and the fleet of edges that serves them.

The planner turns these objects into one :class:`edge.model.EdgeConfig` per edge; nothing here touches a packet.
"""
