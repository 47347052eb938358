"""Mistakes in options; see tests/unit/test_document_problems.py."""

from __future__ import annotations

MISTAKES: list[tuple[str, ...]] = [
    ("unknown limits", "options: {}", "options: {limits: none}", "31:19 options.limits INVALID_VALUE"),
    ("unknown profile", "options: {}", "options: {profile: strict}", "31:20 options.profile INVALID_VALUE"),
    ("mtu", "options: {}", "options: {mtu: 1279}", "31:16 options.mtu OUT_OF_RANGE"),
    (
        "sessions per source",
        "options: {}",
        "options: {maxSessionsPerSource: 0}",
        "31:33 options.maxSessionsPerSource OUT_OF_RANGE",
    ),
    ("fragments", "options: {}", "options: {maxFragments: 1048577}", "31:25 options.maxFragments OUT_OF_RANGE"),
    ("no fragments", "options: {}", "options: {maxFragments: 0}", "31:25 options.maxFragments OUT_OF_RANGE"),
    (
        "fragment timeout",
        "options: {}",
        "options: {fragmentTimeout: 256}",
        "31:28 options.fragmentTimeout OUT_OF_RANGE",
    ),
    ("no timeout", "options: {}", "options: {fragmentTimeout: 0}", "31:28 options.fragmentTimeout OUT_OF_RANGE"),
    ("timer 0", "options: {}", "options: {timers: {tcpFirst: 0}}", "31:30 options.timers.tcpFirst OUT_OF_RANGE"),
    (
        "timer past the last",
        "options: {}",
        "options: {timers: {udpFirst: 4320001}}",
        "31:30 options.timers.udpFirst OUT_OF_RANGE",
    ),
    (
        "unknown timer",
        "options: {}",
        "options: {timers: {tcpEstablish: 5}}",
        "31:20 options.timers.tcpEstablish UNKNOWN_FIELD",
    ),
    ("SNAT port 0", "options: {}", 'options: {snatPortRange: "0-5"}', "31:26 options.snatPortRange OUT_OF_RANGE"),
    ("number for the filter", "options: {}", "options: {providerFilter: 5}", "31:27 options.providerFilter WRONG_TYPE"),
    (
        "filter of SCTP",
        "options: {}",
        'options: {providerFilter: [{protocol: SCTP, ports: ["445"]}]}',
        "31:39 options.providerFilter[0].protocol INVALID_VALUE",
    ),
    ("negative seed", "options: {}", "options: {seed: -1}", "31:17 options.seed OUT_OF_RANGE"),
    ("reject code", "options: {}", "options: {rejectCode: 16}", "31:23 options.rejectCode OUT_OF_RANGE"),
    ("frag-needed as reject", "options: {}", "options: {rejectCode: 4}", "31:23 options.rejectCode OUT_OF_RANGE"),
]
