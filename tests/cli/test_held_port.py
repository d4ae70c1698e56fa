"""A port for our workers, and for nobody else; on real sockets."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, suppress

import pytest

from service.cli.held_port import held_port

LOCALHOST = "127.0.0.1"


def listener(port: int, host: str = LOCALHOST, *, share: bool = False) -> socket.socket:
    """As asyncio makes them: a single process, or with `share` one worker of several."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if share:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind((host, port))
        made.listen()
    except OSError:
        made.close()
        raise
    return made


def test_a_held_port_is_for_those_who_share_it() -> None:
    with held_port(LOCALHOST, 0) as port:
        assert_refused(port)
        with listener(port, share=True), listener(port, share=True):
            assert_refused(port)
        assert_refused(port)  # no worker listens, as after a crash of all
    with listener(port):
        pass


def assert_refused(port: int) -> None:
    """A second supervisor first: a bind that is tried in vain may change what the kernel checks."""
    with (
        pytest.raises(
            OSError, match=f"cannot listen on {LOCALHOST}:{port}: address already in use"
        ),
        held_port(LOCALHOST, port),
    ):
        pass
    with pytest.raises(OSError, match="in use"):
        listener(port)
    with pytest.raises(OSError, match="in use"):
        listener(port, "0.0.0.0")


def test_of_two_that_come_at_once_one_at_most_gets_it() -> None:
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        port = probe.getsockname()[1]
    rounds, got = 300, []
    together = threading.Barrier(2, timeout=5)

    def take() -> None:
        for number in range(rounds):
            together.wait()
            with suppress(OSError), held_port(LOCALHOST, port):
                got.append(number)
                together.wait()
                continue
            together.wait()

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) > rounds / 2


def test_the_holder_takes_no_connection() -> None:
    with held_port(LOCALHOST, 0) as port:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOCALHOST, port))
        with (
            listener(port, share=True) as one,
            listener(port, share=True) as two,
            ExitStack() as up,
        ):
            for _ in range(40):
                up.enter_context(socket.create_connection((LOCALHOST, port)))
            counts = [accepted(each) for each in (one, two)]
            assert sum(counts) == 40
            assert all(counts)


def accepted(listening: socket.socket) -> int:
    listening.setblocking(False)
    count = 0
    while True:
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.parametrize("share", [False, True])
def test_a_port_that_somebody_listens_on_is_refused(share: bool) -> None:
    with listener(0, share=share) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match="already in use"), held_port(LOCALHOST, port):
            pass


@pytest.mark.parametrize("share", [False, True])
def test_connections_of_the_last_run_are_no_obstacle(share: bool) -> None:
    with listener(0, share=share) as last:
        port = last.getsockname()[1]
        client = socket.create_connection((LOCALHOST, port))
        served, _ = last.accept()
        served.close()  # who closes first stays in TIME_WAIT
        client.close()
    with held_port(LOCALHOST, port) as held, listener(port, share=True):
        assert held == port


def test_every_address_of_a_name_is_held_at_the_same_port() -> None:
    with held_port("localhost", 0) as port:
        found = socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            with (
                socket.socket(family, kind, protocol) as other,
                pytest.raises(OSError, match="in use"),
            ):
                other.bind(address)
