def encode_sessions(
    events: bytes,
    first: int,
    count: int,
    wall_ns: int,
    ports: list[str],
    ids: list[str],
    states: list[str],
    started: bool = True,
    ended: bool = True,
) -> bytes: ...
