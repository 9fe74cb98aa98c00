"""Config, runs, notebooks, reports: the only layer where gates, storage and science meet."""

from crimeface_lib.workflow.compare import compare_runs
from crimeface_lib.workflow.config import load_config
from crimeface_lib.workflow.execute import run_notebook
from crimeface_lib.workflow.job import run_job
from crimeface_lib.workflow.publish import publish
from crimeface_lib.workflow.run import Run, open_run
from crimeface_lib.workflow.seal import verify_run
from crimeface_lib.workflow.store import CaseStore

__all__ = [
    "CaseStore",
    "Run",
    "compare_runs",
    "load_config",
    "open_run",
    "publish",
    "run_job",
    "run_notebook",
    "verify_run",
]
