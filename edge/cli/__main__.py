"""The entry point: ``t1edge`` and ``python -m edge.cli``."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line in ``sys.argv`` and exit with its code.

    The import is inside, so that Ctrl-C while Python is still loading ends without a traceback too.
    """
    try:
        from edge.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
