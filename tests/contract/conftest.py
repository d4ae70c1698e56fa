"""Every implementation of a port, by fixture."""

from metadata_fixtures import (  # noqa: F401
    embedded_mongo,
    memory_world,
    mongo_settings,
    mongo_url,
    mongo_world,
    world,
)
