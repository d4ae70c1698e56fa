"""Run a command that dies with its parent: `python -I -S guard.py PARENT_PID COMMAND ...`.

Asks the kernel for a SIGKILL when the parent is gone (PR_SET_PDEATHSIG), then becomes the command;
the request survives exec. A process of its own rather than a `preexec_fn`, which is unsafe in a
parent with threads. The kernel watches the *thread* that forked, so children are started from the
main thread. Elsewhere than on Linux the command simply runs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(signal_number: int, parent_pid: int) -> None:
    """Have the kernel send `signal_number` to this process once its parent ends.

    parent_pid: who the parent was before the call; where it is gone already, this process exits.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:
        sys.exit(1)


def main() -> None:
    parent_pid, *command = sys.argv[1:]
    die_with_parent(signal.SIGKILL, int(parent_pid))
    os.execv(command[0], command)  # noqa: S606 - a list, no shell


if __name__ == "__main__":
    main()
