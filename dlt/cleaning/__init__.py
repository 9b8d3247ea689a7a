"""`python -m dlt clean`: which labels of a user's own images are likely wrong."""
