"""Errors to messages and exit codes: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from autotune.errors import AutotuneError

INTERRUPTED = 130
INTERRUPTION = "autotune: interrupted, there is no result. What was measured until then is kept for the next time."


@contextmanager
def exit_codes() -> Iterator[None]:
    """Prints the message of an error of ours on stderr and exits with its code; no traceback."""
    try:
        yield
    except AutotuneError as error:
        print(f"autotune: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error
    except SystemExit as ended:  # Typer makes it of a KeyboardInterrupt, and says nothing
        if ended.code == INTERRUPTED:
            print(INTERRUPTION, file=sys.stderr)
        raise
    except KeyboardInterrupt as error:
        print(INTERRUPTION, file=sys.stderr)
        raise SystemExit(INTERRUPTED) from error
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from error
    except OSError as error:
        print(f"autotune: {_explained(error)}", file=sys.stderr)
        raise SystemExit(1) from error


def _explained(error: OSError) -> str:
    """What a file could not be used for, and what to do; a write to a full disk does not say which."""
    place = f" ({error.filename})" if error.filename else ""
    text = f"{error.strerror or error}{place}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{text}: free some space where results are kept (AUTOTUNE_HOME, or --output where you gave one) or where "
            f"temporary files are ({tempfile.gettempdir()}; set TMPDIR to another folder). What was measured is kept."
        )
    return f"{text}. Make it readable and writable, or set AUTOTUNE_HOME to another folder."
