"""The values of the domain: immutable, without I/O, without HTTP.

Words (also in the design): a *bucket* is a named set of objects; an *object* is what a user names;
a *version* is one immutable content of an object; a *blob* is the bytes of one version, one S3
object under a random key; an *upload* is a ledger entry, the durable intent to make one version.
May import `service.errors` and nothing else of the service.
"""
