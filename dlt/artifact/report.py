"""Execute the notebooks in place, and put all their tables and figures on one page, figures/report.html."""

from pathlib import Path

from dlt.harness.errors import InputError
from dlt.harness.records import ROOT, write_atomic

NOTEBOOKS = ROOT / "notebooks"
REPORT = ROOT / "figures" / "report.html"


def execute_all(folder: Path, report: Path) -> list[Path]:
    """Run every notebook of `folder` in a kernel of its own, save it, and write the report. The notebooks."""
    import nbformat
    from tqdm import tqdm

    paths = sorted(folder.glob("[0-9]*.ipynb"))
    if not paths:
        raise InputError(f"notebooks: {folder} holds none")
    executed = []
    bar = tqdm(paths, unit="notebook")
    for path in bar:
        bar.set_postfix_str(path.stem)
        executed.append(execute(nbformat.read(path, as_version=4), path))
        write_atomic(path, nbformat.writes(executed[-1]) + "\n")
    write_atomic(report, to_html(executed))
    return paths


def execute(notebook, path: Path):
    """The notebook with the outputs of a fresh run, without what differs from run to run."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    where = {"metadata": {"path": str(ROOT)}}
    try:
        NotebookClient(notebook, timeout=1200, resources=where, record_timing=False).execute()
    except CellExecutionError as error:
        raise InputError(f"notebooks: {path.name} failed: {error.ename}: {error.evalue}") from error
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
    return notebook


def to_html(notebooks: list) -> str:
    """One self-contained page: words, tables and pictures; no code, nothing fetched."""
    from nbconvert import HTMLExporter
    from nbformat.v4 import new_notebook

    cells = [
        cell for notebook in notebooks for cell in notebook.cells if "no-report" not in cell.metadata.get("tags", [])
    ]
    exporter = HTMLExporter(
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        mathjax_url="",
        require_js_url="",
        jquery_url="",
        mermaid_js_url="",
        sanitize_html=False,
    )
    page, _ = exporter.from_notebook_node(new_notebook(cells=cells, metadata={"title": "DLT, reproduced"}))
    return page
