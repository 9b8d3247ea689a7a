"""The evidence: the paper's claims, our measurements, and the tables and figures that compare them."""
