"""A small table, for records that are written by hand: the fixtures `write_run` and `frame`."""

from dlt.artifact import paper
from dlt.artifact.experiments import Column, Table

SYM, ASYM = Column("cifar10", "symmetric", 0.4), Column("cifar10", "asymmetric", 0.2)
SMALL = Table(
    "table9",
    "test accuracy (%) of two_methods",
    {"ce": "CE", "dlt-window": "DLT"},
    {"cifar10": {(c.noise, c.rate): paper.TABLE1[c.noise, c.rate] for c in (SYM, ASYM)}},
)
CLOTHING = Column("clothing1m", "none", 0.0)
