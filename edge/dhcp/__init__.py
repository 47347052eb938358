"""Not emulated yet: DHCP service and relay.

A document that configures it is refused with NOT_EMULATED (:mod:`edge.document`): nothing is ignored in silence.
"""
