"""The metadata ports over SQLite (aiosqlite), for one machine.

One file, which several processes may share. One module per port (`versions`, `uploads` with
`commit`, `buckets`, `api_keys`, `leases`, …), and what they share: `engine` (who reads, who
writes), `writer` (transactions, grouped), `readers`, `driver` (connections), `errors`
(translation), `clock`, `rows` (values <-> rows), `tables` and `schema`. Nothing outside this
package imports the driver.

A port's step is a plain function over a connection. It runs in the connection's thread, from its
first statement to its last, so it neither awaits nor is cancelled half way.
"""

from service.stores.sqlite.metadata import SqliteMetadata, open_metadata, open_records, path_of

__all__ = ["SqliteMetadata", "open_metadata", "open_records", "path_of"]
