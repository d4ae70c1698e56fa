"""What data tools ask of the file system: a column of a table is a few ranges, never the file."""

import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from service.client.filesystem import MediagateFileSystem

ROWS, COLUMNS = 100_000, 16


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(1)
    return pa.table({f"c{number}": random.random(ROWS) for number in range(COLUMNS)})


@pytest.fixture
def path(fs, bucket, table):
    with fs.open(f"{bucket}/t.parquet", "wb") as file:
        pq.write_table(table, file, row_group_size=ROWS // 2, use_dictionary=False)
    return f"{bucket}/t.parquet"


@pytest.fixture
def options(service):
    """For tools that make the file system by themselves."""
    return {
        "endpoint_url": service.url,
        "key": "mg_root_for_the_tests",
        "skip_instance_cache": True,
    }


def by_pandas(fs, path, options):
    return pd.read_parquet(f"mg://{path}", columns=["c3"], storage_options=options)["c3"].mean()


def by_pyarrow(fs, path, options):
    return pq.read_table(path, columns=["c3"], filesystem=fs)["c3"].to_numpy().mean()


def by_polars(fs, path, options):
    scanned = pl.scan_pyarrow_dataset(ds.dataset(path, filesystem=fs))
    return scanned.select(pl.col("c3").mean()).collect().item()


def by_duckdb(fs, path, options):
    with duckdb.connect() as db:
        db.register_filesystem(fs)
        return db.sql(f"SELECT avg(c3) FROM 'mg://{path}'").fetchall()[0][0]


@pytest.mark.parametrize("mean_of_c3", [by_pandas, by_pyarrow, by_polars, by_duckdb])
def test_one_column_is_a_few_ranges(fs, path, options, service, table, mean_of_c3):
    service.reads.clear()
    assert mean_of_c3(fs, path, options) == pytest.approx(table["c3"].to_numpy().mean())
    fetched = sum(end - start for start, end in service.reads)
    assert 1 < len(service.reads) <= 8
    assert fetched < fs.size(path) / 6


def test_pandas_writes_and_reads_text(bucket, options):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    frame.to_csv(f"mg://{bucket}/t.csv.gz", index=False, storage_options=options)
    assert pd.read_csv(f"mg://{bucket}/t.csv.gz", storage_options=options).equals(frame)
    with pytest.raises(FileNotFoundError):
        pd.read_csv(f"mg://{bucket}/none.csv", storage_options=options)


def test_a_partitioned_data_set_is_written_and_read(fs, bucket):
    rows = pa.table({"day": [1, 1, 2], "n": [10, 20, 30]})
    ds.write_dataset(rows, f"{bucket}/set", filesystem=fs, format="parquet", partitioning=["day"])
    again = ds.dataset(f"{bucket}/set", filesystem=fs, partitioning=["day"])
    assert sorted(again.to_table(filter=ds.field("day") == 1)["n"].to_pylist()) == [10, 20]


@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_dask_writes_and_reads_a_data_set(bucket, options):
    frame = dd.from_pandas(pd.DataFrame({"n": range(1000)}), npartitions=3)
    del options["skip_instance_cache"]  # Dask's threads make the file system again and again
    frame.to_parquet(f"mg://{bucket}/set", storage_options=options)
    again = dd.read_parquet(f"mg://{bucket}/set", storage_options=options)
    assert again["n"].sum().compute(scheduler="threads") == 499500
    MediagateFileSystem.clear_instance_cache()


def test_duckdb_writes_what_it_reads(fs, bucket):
    with duckdb.connect() as db:
        db.register_filesystem(fs)
        db.sql(f"COPY (SELECT * FROM range(1000)) TO 'mg://{bucket}/n.csv'")
        assert db.sql(f"SELECT sum(range) FROM 'mg://{bucket}/*.csv'").fetchall() == [(499500,)]
        with pytest.raises(duckdb.Error, match="none"):
            db.sql(f"SELECT * FROM 'mg://{bucket}/none.parquet'")


def test_duckdb_sees_at_once_what_another_wrote(fs, connect, path):
    """It keeps blocks of files in memory, and asks when the file was changed."""
    with duckdb.connect() as db:
        db.register_filesystem(fs)
        fs.ls(fs._parent(path))
        query = f"SELECT count(*), sum(c3) FROM 'mg://{path}'"
        assert db.sql(query).fetchall()[0][0] == ROWS
        with connect().open(path, "wb") as file:
            pq.write_table(pa.table({"c3": [1.0] * 10}), file)
        assert db.sql(query).fetchall() == [(10, 10.0)]
