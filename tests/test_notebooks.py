"""The committed notebooks were executed in order, without error, and tell nothing of a machine. (nbval reruns them.)"""

import re

import nbformat
import pytest

from dlt.artifact import notebook, report
from dlt.harness.errors import InputError
from dlt.harness.records import CHECKPOINTS, ROOT, RUNS

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebook(path):
    text = path.read_text()
    assert len(text) < 300_000
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)
    cells = [cell for cell in nbformat.reads(text, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def test_they_are_all_there():
    assert [path.stem[:2] for path in PATHS] == [f"{i:02}" for i in range(12)]


def test_the_store_is_chosen_by_the_environment(monkeypatch):
    monkeypatch.delenv("DLT_RECORDS", raising=False)
    assert notebook.store() == CHECKPOINTS
    monkeypatch.setenv("DLT_RECORDS", "runs")
    assert notebook.store() == RUNS
    monkeypatch.setenv("DLT_RECORDS", "elsewhere")
    with pytest.raises(InputError, match="DLT_RECORDS"):
        notebook.store()


def test_of_a_table_without_runs_there_are_no_curves(monkeypatch, tmp_path):
    monkeypatch.setattr(notebook, "_written", lambda name, profile: ("", tmp_path))
    assert notebook.figure("table2", "digits", "table2_curves").data == "Not run yet."


def test_a_failing_notebook_is_named_and_not_saved(tmp_path):
    cells = [nbformat.v4.new_code_cell("1 / 0")]
    path = tmp_path / "00_broken.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    before = path.read_text()
    with pytest.raises(InputError, match=r"00_broken\.ipynb failed: ZeroDivisionError"):
        report.execute_all(tmp_path, tmp_path / "report.html")
    assert path.read_text() == before
    assert not (tmp_path / "report.html").exists()


def test_the_report_stands_alone():
    page = report.to_html([nbformat.read(PATHS[3], as_version=4)])
    assert "Table 5" in page
    assert "estimating the noise rate" in page.lower()
    assert not re.findall(r"""(?:src|href)=["']https?://""", page)


def test_the_methods_colours_survive_in_a_small_picture(monkeypatch):
    """SCE's orange and DivideMix's vermillion among them, each on its own label or line."""
    import io

    import matplotlib.colors
    import numpy as np
    import PIL.Image

    from dlt.artifact import notebook
    from dlt.artifact.drawing import METHOD_STYLES
    from dlt.artifact.experiments import ROWS

    monkeypatch.setattr(notebook, "_written", lambda name, profile: ("", ROOT / "figures" / profile))
    shown = notebook.figure("table1", "digits", "table1_curves")
    pixels = np.asarray(PIL.Image.open(io.BytesIO(shown.data)).convert("RGB"), dtype=int).reshape(-1, 3)
    for method in ROWS:
        colour = np.round(255 * np.array(matplotlib.colors.to_rgb(METHOD_STYLES[method][0])))
        assert (np.abs(pixels - colour).max(1) <= 12).sum() > 40, method
    assert len(shown.data) < 200_000
