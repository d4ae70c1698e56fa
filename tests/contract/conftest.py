"""Every implementation of a port, by fixture."""

from blob_fixtures import (  # noqa: F401
    blob_store,
    minio_server,
    mortal_server,
    open_store,
    pytest_collection_modifyitems,
    s3_server,
    seaweedfs_server,
)
from metadata_fixtures import (  # noqa: F401
    embedded_mongo,
    memory_world,
    mongo_settings,
    mongo_url,
    mongo_world,
    sqlite_settings,
    sqlite_world,
    world,
)
