"""Digests of a body while it streams: CRC64NVME always, others when somebody asks or promises.

CRC64NVME costs 0.12 CPU seconds a GiB and runs inline, once a byte: the whole is combined from the
parts'. The others run in a thread, a part at a time (hashlib releases the GIL).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from awscrt import checksums

from service.errors import DigestMismatch

CRC64NVME = "crc64nvme"
_INLINE_BYTES = 64 << 10


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc32c:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = checksums.crc32c(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


_MAKERS: Mapping[str, Callable[[], _Hash]] = {
    "sha-256": hashlib.sha256,
    "sha-512": hashlib.sha512,
    "sha": hashlib.sha1,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "crc32c": _Crc32c,
}
SUPPORTED = frozenset({CRC64NVME, *_MAKERS})
"""The names of Repr-Digest that can be computed here."""


def crc64nvme(chunk: bytes, previous: int = 0) -> int:
    return int(checksums.crc64nvme(chunk, previous))


def combined(first: bytes, second: bytes, second_bytes: int) -> bytes:
    """The CRC64NVME of two things one after the other, from each one's; 8 raw bytes."""
    both = checksums.combine_crc64nvme(
        int.from_bytes(first, "big"), int.from_bytes(second, "big"), second_bytes
    )
    return int(both).to_bytes(8, "big")


class BodyDigests:
    """Fed with parts in order; `finish` gives all digests and checks the promised ones."""

    def __init__(self, expected: Mapping[str, bytes], wanted: Iterable[str]) -> None:
        self._expected = expected
        names = ({*expected} | {*wanted}) & SUPPORTED - {CRC64NVME}
        self._hashes: dict[str, _Hash] = {name: _MAKERS[name]() for name in sorted(names)}
        self._crc = 0

    @property
    def names(self) -> frozenset[str]:
        """What is computed besides CRC64NVME."""
        return frozenset(self._hashes)

    def known(self, crc: bytes) -> None:
        """The CRC64NVME of all bytes, where they need not be looked at for anything else."""
        self._crc = int.from_bytes(crc, "big")

    async def update(self, chunks: Sequence[bytes], size_bytes: int, crc: int) -> None:
        """crc: CRC64NVME of exactly these chunks."""
        self._crc = checksums.combine_crc64nvme(self._crc, crc, size_bytes)
        if not self._hashes:
            return
        if size_bytes <= _INLINE_BYTES:
            self._hash(chunks)
        else:
            await asyncio.to_thread(self._hash, tuple(chunks))

    def finish(self) -> dict[str, bytes]:
        """Raises DigestMismatch where a promised digest is another."""
        found = {name: hashed.digest() for name, hashed in self._hashes.items()}
        found[CRC64NVME] = self._crc.to_bytes(8, "big")
        for name, digest in self._expected.items():
            if name in found and found[name] != digest:
                raise DigestMismatch(f"the body does not have the {name} digest that was sent")
        return found

    def _hash(self, chunks: Sequence[bytes]) -> None:
        for chunk in chunks:
            for hashed in self._hashes.values():
                hashed.update(chunk)
