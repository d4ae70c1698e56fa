"""Text and compression over a writer, which go the same way as it: stored at their close, nothing
at all after an error or when they are forgotten. (fsspec's own would store what came before it.)
"""

from __future__ import annotations

import io
from types import TracebackType
from typing import Any

from fsspec.compression import compr
from fsspec.core import get_compression


def writer_layers(raw: Any, path: str, compression: str | None, text: dict[str, Any] | None) -> Any:
    """compression: as fsspec has it, `infer` among them. text: arguments of a TextIOWrapper."""
    name = get_compression(path, compression)
    writer: Any = CompressedWriter(raw, compr[name](raw, mode="wb")) if name else raw
    return writer if text is None else TextWriter(writer, **text)


class CompressedWriter(io.BufferedIOBase):
    def __init__(self, raw: Any, compressor: Any) -> None:
        self._raw = raw
        self._compressor = compressor

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._compressor.write(data)
        return len(data)

    def close(self) -> None:
        if self.closed:
            return
        try:
            self._compressor.close()
            self._raw.close()
        except BaseException:
            self.discard()
            raise
        finally:
            super().close()

    def discard(self) -> None:
        _discard(self._raw)
        super().close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.discard()
        self.close()

    def __del__(self) -> None:
        """The raw writer, which nobody else has, is forgotten as well."""


class TextWriter(io.TextIOWrapper):
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            _discard(self.buffer)
        self.close()

    def __del__(self) -> None:
        """As of a compressed writer: no close, which would store it."""


def _discard(writer: Any) -> None:
    """What belongs to a transaction is discarded by that."""
    if getattr(writer, "autocommit", True):
        writer.discard()
    else:
        writer.close()
