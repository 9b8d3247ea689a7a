"""docs/gpu.md says what is computed, and docs/slurm.sh gives each cell of Table 1 to one task."""

import os
import re
import subprocess

import pytest

from dlt.__main__ import _parser
from dlt.artifact.experiments import TABLES
from dlt.artifact.gpu import page_tables
from dlt.artifact.reproduce import _budget
from dlt.artifact.selection import noise_of, seeds_of
from dlt.harness.records import ROOT

PAGE = (ROOT / "docs/gpu.md").read_text()
SCRIPT = ROOT / "docs/slurm.sh"
SBATCH = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", SCRIPT.read_text(), re.MULTILINE))


def test_its_tables_are_the_computed_ones():
    for table in page_tables():
        assert table in PAGE
    assert "**Computed, not measured**" in PAGE


@pytest.fixture
def calls(tmp_path):
    """What `reproduce.sh` would be given by each task of the array."""
    stub = tmp_path / "reproduce.sh"
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$*" >> calls\n')
    stub.chmod(0o755)
    first, last = map(int, re.fullmatch(r"(\d+)-(\d+)%\d+", SBATCH["array"]).groups())
    for task in range(first, last + 1):
        environment = os.environ | {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_ARRAY_TASK_ID": str(task)}
        subprocess.run(["bash", SCRIPT], env=environment, check=True)
    return [_parser().parse_args(line.split()) for line in (tmp_path / "calls").read_text().splitlines()]


def test_the_job_script_is_sound(calls):
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    lines = [line for line in SCRIPT.read_text().splitlines() if line.startswith("#SBATCH")]
    assert len(lines) == len(SBATCH) == 7
    hours, minutes, seconds = map(int, SBATCH["time"].split(":"))
    assert all(_budget(call.time_budget) < 3600 * hours + 60 * minutes + seconds for call in calls)
    assert "1" == SBATCH["gres"].removeprefix("gpu:")
    cells = [(call.methods, *noise_of(call.noise)) for call in calls]
    assert sorted(cells) == sorted((c.method, c.noise, c.noise_rate) for c in TABLES["table1"].runs("short", [1]))
    assert {(call.profile, *seeds_of(call.seeds)) for call in calls} == {("short", 1, 2, 3)}
    assert len({call.output for call in calls}) == len(calls)  # no task writes over another's table
