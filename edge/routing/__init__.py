"""Ports and routes: uplinks, organization networks, static routes.

Copies the T1 of NSX as VCD shows it: distributed segments are routed before they reach the edge, non-distributed ones
hang on a service interface, isolated ones are not attached; a default route leads to the provider.
"""
