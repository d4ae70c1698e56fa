"""Mediagate: stream files of any size over HTTP into S3, with their metadata in MongoDB
or, on one machine, in SQLite.

Layers, top to bottom; an import never points up (tests/test_layers.py proves it):
cli > app > web > workers > usecases > stores > client > media > protocol > model > errors
> telemetry > settings. `devstack` is imported by `cli` and the tests only.
"""
