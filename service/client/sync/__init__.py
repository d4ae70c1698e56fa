"""A folder and a prefix made alike, in either direction, by size and digest.

Both sides come in the order of their names, so they are held against each other in one pass and in
constant memory. Nothing is remembered of a run but the digests of local files: whatever moved is
there whole, whatever did not is moved by the next run, wherever this one was killed.

    local_tree.py    a folder's files in order    digest_cache.py  their digests, kept on disk
    pairing.py       both sides side by side      crew.py          a few workers, each at one item
    upload.py        folder -> prefix             download.py      prefix -> folder
    report.py        what happened                trees.py         copies without a comparison
"""

from service.client.sync.digest_cache import DigestCache, default_cache_path
from service.client.sync.download import sync_down
from service.client.sync.pairing import Place
from service.client.sync.report import Action, Kind, Report, SyncOptions
from service.client.sync.trees import get_tree, put_tree, rename_tree
from service.client.sync.upload import sync_up

__all__ = [
    "Action",
    "DigestCache",
    "Kind",
    "Place",
    "Report",
    "SyncOptions",
    "default_cache_path",
    "get_tree",
    "put_tree",
    "rename_tree",
    "sync_down",
    "sync_up",
]
