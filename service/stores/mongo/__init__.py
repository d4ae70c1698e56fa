"""The metadata ports over MongoDB (motor).

One module per port (`versions`, `uploads` with `commit`, `buckets`, `api_keys`, `leases`), and
what they share: `driver` (the client), `errors` (translation, timeouts), `transactions`, `clock`
(the database's time), `documents` (values <-> documents), `indexes` (every index and query),
`schema`. Needs a replica set (one node is enough): commits are transactions. Nothing outside this
package imports the driver.
"""

from service.stores.mongo.metadata import MongoMetadata, open_metadata
from service.stores.mongo.records import open_records

__all__ = ["MongoMetadata", "open_metadata", "open_records"]
