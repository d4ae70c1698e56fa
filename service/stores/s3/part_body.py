"""A request body over the chunks as they arrived: never joined, never copied, replayable."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence


class PartBody:
    """What aiobotocore wants of a body, over a list of chunks.

    It asks for `__len__` (Content-Length), `seek` and `tell` (replay before a retry) and a `read`
    that exists but is never called (parameter validation); aiohttp iterates it. Each `__aiter__`
    begins anew, so a retry sends the whole again.

    sends: how often the first byte was asked for, that is how often the bytes began to leave.
    """

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._chunks: Sequence[bytes] = chunks
        self._size_bytes = sum(map(len, chunks))
        self.sends = 0

    def __len__(self) -> int:
        return self._size_bytes

    def __bool__(self) -> bool:
        """A body stays one after `release`."""
        return self._size_bytes > 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.sends += 1
        # By index: a generator left hanging by a broken connection then holds no chunk.
        for index in range(len(self._chunks)):
            yield self._chunks[index]

    def seek(self, offset: int, whence: int = 0) -> int:
        """Only back to the start, which is all that a replay needs."""
        if offset != 0 or whence != 0:
            raise ValueError("a part body seeks to its start only")
        return 0

    def tell(self) -> int:
        return 0

    def read(self, size: int = -1) -> bytes:
        raise TypeError("a part body is iterated, not read")

    def release(self) -> None:
        """Let go of the chunks; exceptions and their requests may keep this object for a while."""
        self._chunks = ()
