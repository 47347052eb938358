"""Mistakes in the document as a whole and in what is not emulated; see tests/unit/test_document_problems.py."""

from __future__ import annotations

MISTAKES: list[tuple[str, ...]] = [
    ("DNS on", "dns: {}", "dns: {enabled: true}", "29:6 dns NOT_EMULATED"),
    (
        "a tunnel under its endpoint's key",
        "ipsecTunnels: []",
        "ipsec/tunnels: {values: [{name: hq}]}",
        "28:26 ipsec/tunnels.values[0] NOT_EMULATED",
    ),
    ("a pool", "pools: []", "pools: [{name: p}]", "30:15 loadBalancer NOT_EMULATED"),
    ("one section twice", "ipsecTunnels: []", "ipsec/tunnels: []\nipsecTunnels: []", "29:1 ipsecTunnels DUPLICATE_KEY"),
    ("unknown section", "dns: {}", "firewalRules: {}", "29:1 firewalRules UNKNOWN_FIELD"),
    (
        "unknown field beside values",
        "natRules:",
        "natRules: {values: [], foo: 1}\nx:",
        "23:24 natRules.foo UNKNOWN_FIELD",
        "24:1 x UNKNOWN_FIELD",
    ),
]
