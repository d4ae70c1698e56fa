"""Where bytes and names are kept: `ports` says what the rest of the service may ask for.

`ports` holds Protocols without driver types; `s3/` keeps blobs through aiobotocore, `mongo/` keeps
metadata through motor. Driver exceptions are translated here and nowhere else.
"""
