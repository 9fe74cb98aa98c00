"""Arrays in, numbers out: how good a score, a calibration, a surface or a forecast is."""

from crimeface_lib.metrics.biometric import ErrorRates, det_curve, eer, error_rates, rate_interval
from crimeface_lib.metrics.bootstrap import Interval, bootstrap_interval, clustered_interval, subject_weights
from crimeface_lib.metrics.calibration import cllr, cllr_min, fit_logistic, pav_log_lr
from crimeface_lib.metrics.disaggregate import (
    MEASURES,
    Differentials,
    differential_intervals,
    differentials,
    rate_replicas,
    rates_by_group,
)
from crimeface_lib.metrics.discard import DiscardCurve, error_versus_discard, quality_by_group
from crimeface_lib.metrics.forecast import hit_rate, mase, pai, pei
from crimeface_lib.metrics.identification import (
    Identification,
    SearchOutcomes,
    identification,
    listed_outcomes,
    search_outcomes,
)
from crimeface_lib.metrics.likelihood import (
    EvidenceQuality,
    devpav,
    empirical_cross_entropy,
    evidence_of_counts,
    evidence_quality,
    supported_bounds,
    tippett,
)
from crimeface_lib.metrics.scan import SurfaceComparison, compare_meshes, read_surface
from crimeface_lib.metrics.surface import (
    Alignment,
    align,
    closest_on_surface,
    normal_error,
    normalised_mean_error,
    point_to_surface,
)
from crimeface_lib.metrics.verification import (
    ScoreCounts,
    Verification,
    count_all_pairs,
    count_scores,
    pair_subjects,
    verification,
)

__all__ = [
    "clustered_interval",
    "DiscardCurve",
    "error_versus_discard",
    "quality_by_group",
    "Identification",
    "SearchOutcomes",
    "identification",
    "listed_outcomes",
    "search_outcomes",
    "EvidenceQuality",
    "devpav",
    "empirical_cross_entropy",
    "evidence_of_counts",
    "evidence_quality",
    "supported_bounds",
    "tippett",
    "ScoreCounts",
    "Verification",
    "count_all_pairs",
    "count_scores",
    "pair_subjects",
    "verification",
    "MEASURES",
    "Alignment",
    "Differentials",
    "ErrorRates",
    "Interval",
    "SurfaceComparison",
    "align",
    "bootstrap_interval",
    "cllr",
    "cllr_min",
    "closest_on_surface",
    "compare_meshes",
    "det_curve",
    "differential_intervals",
    "differentials",
    "eer",
    "error_rates",
    "fit_logistic",
    "hit_rate",
    "mase",
    "normal_error",
    "normalised_mean_error",
    "pai",
    "pav_log_lr",
    "pei",
    "point_to_surface",
    "rate_interval",
    "rate_replicas",
    "rates_by_group",
    "read_surface",
    "subject_weights",
]
