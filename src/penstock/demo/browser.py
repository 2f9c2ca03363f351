"""Opens a page in the browser of whoever sits here, where there is one with windows; says nothing where there is none.

A browser does not run as root: it is started as the user who called sudo, where there is one.
"""

import os
import pwd
import subprocess
import sys
from contextlib import suppress
from typing import Any

WINDOWS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
START_S = 5.0


def open_browser(url: str) -> bool:
    """Open `url`; was a browser asked? CPython's `webbrowser` chooses it."""
    if not any(os.environ.get(name) for name in WINDOWS):
        return False
    with suppress(OSError, KeyError, ValueError, subprocess.SubprocessError):  # also: a user who is not there
        program = subprocess.Popen(
            [sys.executable, "-m", "webbrowser", "-n", url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            **_find_user(),
        )
        with suppress(subprocess.TimeoutExpired):
            program.wait(START_S)
        return program.poll() in (None, 0)
    return False


def _find_user() -> dict[str, Any]:
    user, group = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if not (user and group and user.isdecimal() and group.isdecimal()):
        return {}
    home = pwd.getpwuid(int(user)).pw_dir
    return {"user": int(user), "group": int(group), "extra_groups": [], "env": os.environ | {"HOME": home}}
