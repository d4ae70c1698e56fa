"""pandas and Parquet on Mediagate: write a table, read one column of it.

    pip install 'mediagate[fsspec]' pandas pyarrow
    export MEDIAGATE_URL=http://127.0.0.1:8080 MEDIAGATE_KEY=mg_…

The table streams to the service as it is written. Reading a column asks for the byte ranges of that
column and for the footer, not for the file.
"""

import fsspec
import pandas as pd

TABLE = "mg://examples/rides.parquet"

fs = fsspec.filesystem("mg")
fs.makedirs("examples", exist_ok=True)

hours = pd.date_range("2026-01-01", periods=20_000, freq="min")
rides = pd.DataFrame(
    {
        "at": hours,
        "minutes": [5 + n % 40 for n in range(len(hours))],
        "price": [3.5 + n % 23 for n in range(len(hours))],
        "note": [f"ride number {n}, from here to there" for n in range(len(hours))],
    }
)
rides.to_parquet(TABLE, row_group_size=5_000)
print(f"stored {len(rides)} rides in {fs.size(TABLE)} bytes")

prices = pd.read_parquet(TABLE, columns=["price"])
print(f"the mean price is {prices['price'].mean():.2f}")

late = pd.read_parquet(TABLE, columns=["at"], filters=[("minutes", ">=", 44)])
print(f"{len(late)} rides took 44 minutes")
