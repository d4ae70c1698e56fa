"""Where bytes and names are kept: `ports` says what the rest of the service may ask for.

`ports` holds Protocols without driver types; `s3/` keeps blobs through aiobotocore; metadata lie in
MongoDB (`mongo/`, through motor) or in a file of SQLite (`sqlite/`, through aiosqlite), and
`engines` knows which. Driver exceptions are translated here and nowhere else.
"""
