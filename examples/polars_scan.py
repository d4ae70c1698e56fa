"""A lazy Polars query over a folder of Parquet files on Mediagate.

    pip install 'mediagate[fsspec]' polars pyarrow
    export MEDIAGATE_URL=http://127.0.0.1:8080 MEDIAGATE_KEY=mg_…

Polars knows no `mg://` of its own; a pyarrow dataset lends it the file system, and only the columns
and row groups that the query needs are fetched.
"""

import fsspec
import polars as pl
import pyarrow.dataset as ds

fs = fsspec.filesystem("mg")
fs.makedirs("examples", exist_ok=True)
for day in range(3):
    readings = pl.DataFrame({"sensor": [f"s{n % 4}" for n in range(1_000)], "value": range(1_000)})
    with fs.open(f"mg://examples/readings/day-{day}.parquet", "wb") as file:
        readings.with_columns(day=pl.lit(day)).write_parquet(file)

dataset = ds.dataset("examples/readings", filesystem=fs, format="parquet")
found = (
    pl.scan_pyarrow_dataset(dataset)
    .filter(pl.col("day") > 0)
    .group_by("sensor")
    .agg(pl.col("value").mean())
    .sort("sensor")
    .collect()
)
for sensor, value in found.iter_rows():
    print(f"{sensor}: {value}")
