"""The session of ``t1edge control``, in a file that only its user can read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from edge.errors import EdgeError


class SessionFileError(EdgeError):
    """There is no session, or its file cannot be used."""

    reason = "NO_SESSION"


@dataclass(frozen=True, slots=True)
class KeptSession:
    """Where it is valid, whose it is, and what is shown."""

    address: str
    user: str
    token: str


def session_path() -> Path:
    """``$XDG_CONFIG_HOME/t1edge/session.json``, by default in ``~/.config``."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".config") / "t1edge" / "session.json"


def keep(session: KeptSession) -> None:
    """Write the file, readable for nobody else from its first moment.  Raises OSError."""
    path = session_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump(asdict(session), file)
    new.replace(path)


def kept() -> KeptSession:
    """Read the file.  Raises SessionFileError."""
    path = session_path()
    try:
        return KeptSession(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SessionFileError("there is no session: t1edge control login begins one") from None
    except (OSError, ValueError, TypeError):
        raise SessionFileError(f"{path}: cannot be used: t1edge control login makes it anew") from None


def forget() -> None:
    """Remove the file."""
    session_path().unlink(missing_ok=True)
