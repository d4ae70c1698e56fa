"""A package, so that no stray `tests` of a dependency (sniffpy ships one) is taken for it."""
