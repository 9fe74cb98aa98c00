"""Reports: figures, tables, interactive parts, self-contained HTML, PDF on A4, and the index of runs."""

from crimeface_lib.reporting.bias_figures import bias_rates_figure, bias_trend_figure
from crimeface_lib.reporting.crate import CRATE, build_crate, write_crate
from crimeface_lib.reporting.crime_figures import completeness_figure, monthly_series_figure, pai_figure
from crimeface_lib.reporting.custody import custody_timeline
from crimeface_lib.reporting.dpia_page import publish_dpia
from crimeface_lib.reporting.face_figures import (
    contact_sheet,
    cumulative_error_figure,
    error_by_pose_figure,
    landmark_overlay,
    view_gain_figure,
)
from crimeface_lib.reporting.figures import face_sheet, score_figure, uncertainty_sheet
from crimeface_lib.reporting.governance_figures import moved_figure, recovered_figure, runs_figure
from crimeface_lib.reporting.index import publish_index
from crimeface_lib.reporting.interactive import (
    Interactive,
    cell_heatmap,
    face_view,
    monthly_chart,
    plotly_html,
    snapshot_html,
)
from crimeface_lib.reporting.lineage import lineage_figure
from crimeface_lib.reporting.maps import crime_map
from crimeface_lib.reporting.notify import (
    Notice,
    NotSentError,
    candidates_ready,
    differential_alert,
    review_due,
    send_notice,
)
from crimeface_lib.reporting.pdf import find_chromium, html_to_pdf
from crimeface_lib.reporting.publish import Cover, publish_notebook
from crimeface_lib.reporting.recognition_figures import (
    calibration_figure,
    cmc_figure,
    det_figure,
    discard_figure,
    ece_figure,
    quality_figure,
    score_histogram_figure,
    tippett_figure,
)
from crimeface_lib.reporting.style import house_style
from crimeface_lib.reporting.tables import format_count, format_lr, format_mm, format_percent, html_table

__all__ = [
    "NotSentError",
    "Notice",
    "candidates_ready",
    "differential_alert",
    "review_due",
    "send_notice",
    "CRATE",
    "calibration_figure",
    "cmc_figure",
    "det_figure",
    "discard_figure",
    "ece_figure",
    "quality_figure",
    "score_histogram_figure",
    "tippett_figure",
    "bias_rates_figure",
    "bias_trend_figure",
    "build_crate",
    "write_crate",
    "Cover",
    "Interactive",
    "cell_heatmap",
    "completeness_figure",
    "contact_sheet",
    "crime_map",
    "cumulative_error_figure",
    "custody_timeline",
    "error_by_pose_figure",
    "face_sheet",
    "face_view",
    "find_chromium",
    "format_count",
    "format_lr",
    "format_mm",
    "format_percent",
    "house_style",
    "html_table",
    "html_to_pdf",
    "landmark_overlay",
    "lineage_figure",
    "monthly_chart",
    "moved_figure",
    "monthly_series_figure",
    "pai_figure",
    "plotly_html",
    "publish_dpia",
    "publish_index",
    "publish_notebook",
    "recovered_figure",
    "runs_figure",
    "score_figure",
    "snapshot_html",
    "uncertainty_sheet",
    "view_gain_figure",
]
