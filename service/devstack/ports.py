"""Free loopback ports."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack

HOST = "127.0.0.1"


def choose_ports(count: int, preferred: Sequence[int] = ()) -> list[int]:
    """Ports that are free now: the preferred ones where all of them are, else fresh ones.

    Somebody may take one before the server binds it, so a start that fails on a taken port is
    tried again with other ports.
    """
    if len(preferred) == count and _all_free(preferred):
        return list(preferred)
    with ExitStack() as held:
        # All held at once, so that the same port is not given twice.
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def _all_free(ports: Sequence[int]) -> bool:
    with ExitStack() as held:
        for port in ports:
            probe = held.enter_context(socket.socket())
            # As servers do: connections of the last run in TIME_WAIT do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                return False
    return True
