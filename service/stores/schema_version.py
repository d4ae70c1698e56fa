"""The version of what the metadata stores keep, the same for every engine."""

SCHEMA_VERSION = 3
