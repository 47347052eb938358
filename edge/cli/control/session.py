"""The session of ``t1edge control``, in a file that only its user can read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.api.tls import TlsFiles


class SessionFileError(EdgeError):
    """There is no session, or its file cannot be used."""

    reason = "NO_SESSION"


@dataclass(frozen=True, slots=True)
class KeptSession:
    """Where it is valid, whose it is, and what is shown.  ``tls``: the files that it began with, none without TLS."""

    address: str
    user: str
    token: str
    tls: tuple[str, ...] = ()

    def tls_files(self) -> TlsFiles | None:
        """The files of TLS, None if it began without."""
        from edge.api.tls import TlsFiles

        return TlsFiles(*map(Path, self.tls)) if self.tls else None


def paths_of(tls: TlsFiles | None) -> tuple[str, ...]:
    """What a session keeps of the files of TLS: they are found again from any directory."""
    return tuple(str(path.absolute()) for path in (tls.certificate, tls.key, tls.authorities)) if tls else ()


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
        return _read(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SessionFileError("there is no session: t1edge control login begins one") from None
    except (OSError, ValueError, TypeError, KeyError):
        raise SessionFileError(f"{path}: cannot be used: t1edge control login makes it anew") from None


def _read(fields: Any) -> KeptSession:
    """What is damaged must not turn into a session without TLS.  Raises ValueError, TypeError or KeyError."""
    tls = fields["tls"]
    if not isinstance(tls, list) or len(tls) not in {0, 3} or not all(isinstance(file, str) for file in tls):
        raise ValueError("tls")
    return KeptSession(**{**fields, "tls": tuple(tls)})


def forget() -> None:
    """Remove the file."""
    session_path().unlink(missing_ok=True)
