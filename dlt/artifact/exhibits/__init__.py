"""Every exhibit beside the tables of accuracies, a file each: TITLE, runs(profile, seed), write(...), CLAIMS.

What one more needs is its file and its line in EXHIBITS.
"""

from dlt.artifact.exhibits import (
    ablations,
    cost,
    figure1,
    figure2,
    figure3,
    figure4,
    figure5,
    figure6,
    figure7,
    parts,
    table5,
)

EXHIBITS = (table5, figure1, figure2, figure3, figure4, figure5, figure6, figure7, ablations, cost, parts)
