"""The embedded stack: an S3 server, and a MongoDB one if wanted, as child processes on loopback.

For `make run`, `make stack` and the tests; nothing here is meant for production. A *stack* is one
S3 server (SeaweedFS by default, MinIO where asked for) beside the metadata: a file of SQLite, or
SecantusDB; on a *data folder* that keeps everything between runs. The servers are never imported,
only run. May import nothing of the service; imported by `cli` and the tests only.
"""

from service.devstack.errors import StackError
from service.devstack.process import Child
from service.devstack.stack import S3Kind, Stack, running_stack

__all__ = ["Child", "S3Kind", "Stack", "StackError", "running_stack"]
