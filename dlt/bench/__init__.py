"""The stopwatch: `python -m dlt bench`."""
