"""Cheap questions asked before any notebook starts: can the input be read, does policy allow the use?

The notebooks ask again, and theirs are the answers that count; these spare the user a minute's wait for a no.
"""

from __future__ import annotations

from crimeface_lib.core.settings import Settings
from crimeface_lib.workflow.config import (
    CaseReportConfig,
    CrimeOverviewConfig,
    RecogniseConfig,
    ReconstructConfig,
    RunConfig,
)
