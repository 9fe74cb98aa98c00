"""Reports: figures, tables, interactive parts, self-contained HTML, PDF on A4, and the index of runs."""

from crimeface_lib.reporting.bias_figures import bias_rates_figure, bias_trend_figure
from crimeface_lib.reporting.crate import CRATE, build_crate, write_crate
from crimeface_lib.reporting.crime_figures import (
    aoristic_figure,
    completeness_figure,
    monthly_series_figure,
    pai_figure,
)
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
from crimeface_lib.reporting.pair_figures import changes_figure, pair_figure
from crimeface_lib.reporting.pdf import find_chromium, html_to_pdf
from crimeface_lib.reporting.place_figures import (
    contributions_figure,
    feedback_figure,
    hit_rate_figure,
    horizon_in_words,
    reliability_figure,
    risk_map,
    stability_map,
)
from crimeface_lib.reporting.place_maps import hotspot_map, profile_map
from crimeface_lib.reporting.protection_figures import unlinkability_figure
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
from crimeface_lib.reporting.series_figures import (
    calendar_figure,
    change_points_figure,
    decomposition_figure,
    forecast_figure,
    seasonal_profile_figure,
    series_panels_figure,
)
from crimeface_lib.reporting.style import house_style
from crimeface_lib.reporting.tables import format_count, format_lr, format_mm, format_percent, html_table

__all__ = [
    "CRATE",
    "Cover",
    "Interactive",
    "NotSentError",
    "Notice",
    "aoristic_figure",
    "bias_rates_figure",
    "bias_trend_figure",
    "build_crate",
    "calendar_figure",
    "calibration_figure",
    "changes_figure",
    "candidates_ready",
    "cell_heatmap",
    "change_points_figure",
    "cmc_figure",
    "completeness_figure",
    "contact_sheet",
    "crime_map",
    "contributions_figure",
    "cumulative_error_figure",
    "custody_timeline",
    "decomposition_figure",
    "det_figure",
    "differential_alert",
    "discard_figure",
    "ece_figure",
    "error_by_pose_figure",
    "face_sheet",
    "face_view",
    "feedback_figure",
    "find_chromium",
    "forecast_figure",
    "format_count",
    "format_lr",
    "format_mm",
    "format_percent",
    "hit_rate_figure",
    "horizon_in_words",
    "hotspot_map",
    "house_style",
    "html_table",
    "html_to_pdf",
    "landmark_overlay",
    "lineage_figure",
    "monthly_chart",
    "monthly_series_figure",
    "moved_figure",
    "pai_figure",
    "pair_figure",
    "plotly_html",
    "profile_map",
    "publish_dpia",
    "publish_index",
    "publish_notebook",
    "quality_figure",
    "recovered_figure",
    "reliability_figure",
    "review_due",
    "risk_map",
    "runs_figure",
    "score_figure",
    "score_histogram_figure",
    "seasonal_profile_figure",
    "send_notice",
    "series_panels_figure",
    "snapshot_html",
    "stability_map",
    "tippett_figure",
    "uncertainty_sheet",
    "unlinkability_figure",
    "view_gain_figure",
    "write_crate",
]
