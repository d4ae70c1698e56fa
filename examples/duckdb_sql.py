"""SQL over objects: DuckDB reads and writes Parquet and CSV on Mediagate.

pip install 'mediagate[fsspec]' duckdb
export MEDIAGATE_URL=http://127.0.0.1:8080 MEDIAGATE_KEY=mg_…
"""

import duckdb
import fsspec

fs = fsspec.filesystem("mg")
fs.makedirs("examples", exist_ok=True)
for month in (1, 2):
    rows = "".join(f"2026-{month:02}-{day:02},{day * month}\n" for day in range(1, 29))
    fs.pipe(f"mg://examples/sales/2026-{month:02}.csv", f"day,amount\n{rows}".encode())

db = duckdb.connect()
db.register_filesystem(fs)
db.sql(
    """
    COPY (SELECT * FROM 'mg://examples/sales/*.csv' ORDER BY day)
    TO 'mg://examples/sales.parquet' (FORMAT parquet)
    """
)
months = db.sql(
    """
    SELECT month(day) AS month, sum(amount) AS amount
    FROM 'mg://examples/sales.parquet' GROUP BY month ORDER BY month
    """
).fetchall()
for month, amount in months:
    print(f"month {month}: {amount}")
