"""A port that several processes of ours share, and nobody else.

SO_REUSEPORT lets any two programs of one user share a port without a word. So the port is taken
first by a socket without it, which is refused wherever another one listens, has bound itself
exclusively, or holds the port as we do. It needs SO_REUSEADDR, for connections of the last run in
TIME_WAIT, which also lets two bind at once; but only one of them can listen. While it does, that
option is taken back, and nobody else can listen from then on. Then it listens no more, and serves
nothing, but the kernel holds each later bind against it: sockets with SO_REUSEPORT are let through
(our workers), without are refused (a single process, the first step of another supervisor). Linux
only: others neither hold a port like that nor spread connections over those who share it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def held_port(host: str, port: int) -> Iterator[int]:
    """Keep `port` of every address of `host` for sockets with SO_REUSEPORT of this user.

    port: 0 is any free one. Yields the port. Raises OSError where it is not free.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with ExitStack() as held:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                each = held.enter_context(socket.socket(family, kind, protocol))
            except OSError:
                continue  # an address family that this machine has not; asyncio skips it too
            port = port or _any_free_port(family, str(address[0]))
            _hold(each, (address[0], port, *address[2:]))
        yield port


def _any_free_port(family: int, host: str) -> int:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _hold(each: socket.socket, address: tuple[object, ...]) -> None:
    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if each.family == socket.AF_INET6:
        each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as asyncio does
    try:
        each.bind(address)
        each.listen(1)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise OSError(
            error.errno, f"cannot listen on {address[0]}:{address[1]}: {reason}"
        ) from None
    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    each.shutdown(socket.SHUT_RD)  # listens no longer, and stays bound
    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
