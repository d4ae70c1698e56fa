"""`mg://bucket/key` as a file system of fsspec, so that pandas, DuckDB, PyTorch and all who speak
fsspec read and write objects. Needs the extra `mediagate[fsspec]`; the rest of the client does not.

`listing` and `system` are what fsspec calls, `files` what an open file is, `streamed_upload` how it
is written. Errors are OSErrors. May import what the client may.
"""

from service.client.filesystem.system import MediagateFileSystem

__all__ = ["MediagateFileSystem"]
