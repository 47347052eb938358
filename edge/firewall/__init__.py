"""The gateway firewall: first match over system, user and default rules, stateful.

Copies what NSX calls the gateway firewall and CloudAPI ``EdgeFirewallRules``: rule fields and limits from the VCD
OpenAPI schema ``edgeGatewayFirewall.yaml``, order and state handling from the NSX 4.x administration guide, REJECT from
its page GUID-E015ACF3.  What no source says is assumed and listed in ``docs/fidelity.md``.
"""
