"""The numbers of the paper's tables, as printed: data only, all of it in percent.

Accuracies are (best, last): the best test accuracy of all epochs, and the mean of the last 10. None is
a cell that the paper leaves out ("—"), or that is unreadable in the text at hand (said beside it).
Best is never below Last in any of them.
"""

# (label noise, rate), the columns of Tables 1 and 2.
SIX = (
    ("symmetric", 0.2), ("symmetric", 0.4), ("symmetric", 0.6),
    ("asymmetric", 0.2), ("asymmetric", 0.3), ("asymmetric", 0.4),
)  # fmt: skip
# The columns of Table 4, on each data set.
THREE = (("symmetric", 0.2), ("symmetric", 0.5), ("symmetric", 0.8))


def _cells(columns: tuple, rows: dict) -> dict:
    """cells[noise, rate][method] = (best, last), from each method's row of Best and row of Last."""
    return {
        column: {method: (best[i], last[i]) for method, (best, last) in rows.items()}
        for i, column in enumerate(columns)
    }


# CIFAR-10.
TABLE1 = _cells(SIX, {
    "ce": ((88.1, 84.3, 77.7, 90.6, 89.4, 85.0), (81.7, 65.0, 44.9, 87.8, 83.4, 72.3)),
    "apl": ((87.8, 84.4, 76.8, 87.2, 85.7, 83.6), (87.5, 84.0, 76.4, 87.0, 84.6, 82.2)),
    "sce": ((92.9, 90.9, 87.0, 92.3, 91.2, 87.9), (90.0, 81.7, 62.7, 90.1, 85.5, 79.9)),
    "m-correction": ((94.0, 93.3, 90.1, None, None, None), (93.6, 93.1, 89.7, None, None, None)),
    "dividemix": ((95.6, 93.9, 93.7, 94.2, 93.3, 92.7), (95.2, 93.6, 93.0, 93.4, 92.5, 91.5)),
    "dlt-last-epoch": ((95.7, 95.6, 94.8, 94.4, 93.5, 92.5), (95.4, 94.8, 94.5, 93.9, 93.0, 91.6)),
    "dlt-window": ((95.8, 95.6, 94.6, 94.3, 93.5, 92.8), (95.4, 95.3, 94.0, 93.9, 93.1, 92.2)),
})  # fmt: skip

# CIFAR-100. DLT (Slide Window), Last, asymmetric 0.3 is unreadable; CE, Last, asymmetric 0.2 and 0.3 are put together
# from fragments.
TABLE2 = _cells(SIX, {
    "ce": ((61.4, 53.2, 42.0, 63.3, 56.0, 46.2), (57.5, 41.2, 24.4, 59.6, 51.8, 42.6)),
    "apl": ((71.2, 66.7, 54.0, 70.1, 66.4, 55.5), (66.6, 58.3, 44.5, 60.0, 49.9, 44.1)),
    "sce": ((60.1, 53.7, 42.8, 60.2, 55.6, 45.8), (56.8, 41.3, 24.8, 58.2, 50.3, 40.8)),
    "m-correction": ((73.9, 71.8, 59.7, None, None, None), (73.4, 71.1, 50.7, None, None, None)),
    "dividemix": ((75.7, 73.9, 69.6, 75.4, 72.7, 59.7), (74.9, 73.0, 69.1, 74.9, 72.0, 51.2)),
    "dlt-last-epoch": ((76.6, 74.8, 69.7, 76.5, 72.4, 66.7), (75.5, 73.8, 69.0, 75.1, 71.3, 65.5)),
    "dlt-window": ((77.1, 75.2, 70.1, 76.1, 72.8, 68.0), (75.9, 74.0, 69.2, 74.7, None, 66.7)),
})  # fmt: skip

# Clothing1M: method -> test accuracy. All but DLT's are copied by the paper from the methods' own papers.
TABLE3 = {
    "ce": 69.21,
    "f-correction": 69.84,
    "m-correction": 71.00,
    "meta-learning": 73.47,
    "dividemix": 74.76,
    "dlt-last-epoch": 74.04,
    "dlt-window": 73.58,
}

# Ensembles of two networks. DivideMix on CIFAR-100 at 0.5 is put together from fragments.
# dividemix-dlt is the table's DLT*: DivideMix with the detection of DLT.
TABLE4 = {
    "cifar10": _cells(THREE, {
        "dividemix": ((96.1, 94.6, 93.2), (95.7, 94.4, 92.9)),
        "dividemix-dlt": ((96.5, 95.5, 93.2), (96.1, 95.2, 93.0)),
    }),
    "cifar100": _cells(THREE, {
        "dividemix": ((77.3, 74.6, 60.2), (76.9, 74.2, 59.6)),
        "dividemix-dlt": ((80.0, 75.9, 60.8), (79.2, 75.2, 60.4)),
    }),
}  # fmt: skip

# Noise rate estimation, symmetric noise: data set -> real noise rate -> estimated noise rate.
TABLE5 = {
    "cifar10": {20: 21.6, 30: 31.8, 40: 40.9, 50: 49.5, 60: 59.1},
    "cifar100": {20: 25.3, 30: 31.5, 40: 39.8, 50: 47.8, 60: 56.6},
}
