"""Address translation on the gateway's uplinks and service interfaces.

Copies CloudAPI ``EdgeNatRule`` (VCD OpenAPI schema ``edgeGatewayNat.yaml``) on top of NSX NAT: where each action is
evaluated and what a service means come from the configuration matrix of "Configure an NSX NAT" (Broadcom TechDocs),
firewall match from the NSX administration guide GUID-DDB35A76, source ports from Broadcom KB 374440 and 414560.
"""
