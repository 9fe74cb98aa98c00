"""Crime by place and time: ingest, grids, summaries, hotspots, series, place forecasts. Places, never persons."""

from crimeface_lib.crime._history import reported
from crimeface_lib.crime._models import MODEL_NAMES, MODEL_VERSION
from crimeface_lib.crime.aoristic import Aoristic, aoristic, aoristic_weights
from crimeface_lib.crime.autocorrelation import KINDS, LocalMoran, local_moran
from crimeface_lib.crime.boundaries import read_boundaries
from crimeface_lib.crime.calendars import CalendarEffects, calendar_effects
from crimeface_lib.crime.changepoints import ChangePoints, change_points
from crimeface_lib.crime.decompose import Decomposition, decompose
from crimeface_lib.crime.disclosure import Suppressed, suppress
from crimeface_lib.crime.events import (
    OGL_ATTRIBUTION,
    POLICE_DISCOVERED,
    SYNTHETIC_ATTRIBUTION,
    Events,
    QualityReport,
    refuse_person_columns,
)
from crimeface_lib.crime.feedback import Exposure, FeedbackSimulation, exposure, simulate_feedback
from crimeface_lib.crime.forecast import Forecast, forecast
from crimeface_lib.crime.grid import Grid, make_grid
from crimeface_lib.crime.groups import cell_groups
from crimeface_lib.crime.hotspot import Density, Hotspots, false_discovery, getis_ord, kde, top_cells
from crimeface_lib.crime.ingest import check_source, read_events
from crimeface_lib.crime.nearrepeat import KnoxTest, knox_test
from crimeface_lib.crime.outcomes import Outcomes, join_outcomes, read_outcomes
from crimeface_lib.crime.partitions import Partitions, open_partitions, write_events
from crimeface_lib.crime.place_checks import PlaceChecks, Stability, check_places
from crimeface_lib.crime.place_evaluation import PlaceEvaluation, evaluate_places
from crimeface_lib.crime.place_tuning import PlaceTuning, tune_places
from crimeface_lib.crime.places import PlaceRisk, predict_places
from crimeface_lib.crime.points import read_points
from crimeface_lib.crime.profile_trials import ProfileTrials, simulate_profiles
from crimeface_lib.crime.profiling import PROFILE_VERSION, GeographicProfile, geographic_profile
from crimeface_lib.crime.quality import POLICIES
from crimeface_lib.crime.release import Release, release_tables, release_years
from crimeface_lib.crime.self_exciting import SelfExcitingFit, fit_self_exciting
from crimeface_lib.crime.sensitivity import Sensitivity, hotspot_sensitivity
from crimeface_lib.crime.series_pool import FORECAST_MODELS
from crimeface_lib.crime.streaming import partition_events
from crimeface_lib.crime.summary import Summary, cross_table, summarise
from crimeface_lib.crime.timeseries import (
    DailySeries,
    MonthlySeries,
    SeasonalProfile,
    daily_series,
    monthly_series,
    seasonal_profile,
)

__all__ = [
    "FORECAST_MODELS",
    "KINDS",
    "MODEL_NAMES",
    "MODEL_VERSION",
    "OGL_ATTRIBUTION",
    "POLICE_DISCOVERED",
    "POLICIES",
    "PROFILE_VERSION",
    "SYNTHETIC_ATTRIBUTION",
    "Aoristic",
    "CalendarEffects",
    "ChangePoints",
    "DailySeries",
    "Decomposition",
    "Density",
    "Events",
    "Exposure",
    "FeedbackSimulation",
    "Forecast",
    "GeographicProfile",
    "Grid",
    "Hotspots",
    "KnoxTest",
    "LocalMoran",
    "MonthlySeries",
    "Outcomes",
    "Partitions",
    "PlaceChecks",
    "PlaceEvaluation",
    "PlaceRisk",
    "PlaceTuning",
    "ProfileTrials",
    "QualityReport",
    "Release",
    "SeasonalProfile",
    "SelfExcitingFit",
    "Sensitivity",
    "Stability",
    "Summary",
    "Suppressed",
    "aoristic",
    "aoristic_weights",
    "calendar_effects",
    "cell_groups",
    "change_points",
    "check_places",
    "check_source",
    "cross_table",
    "daily_series",
    "decompose",
    "evaluate_places",
    "exposure",
    "false_discovery",
    "fit_self_exciting",
    "forecast",
    "geographic_profile",
    "getis_ord",
    "hotspot_sensitivity",
    "kde",
    "join_outcomes",
    "knox_test",
    "local_moran",
    "make_grid",
    "monthly_series",
    "open_partitions",
    "partition_events",
    "predict_places",
    "read_boundaries",
    "read_events",
    "read_outcomes",
    "read_points",
    "refuse_person_columns",
    "release_tables",
    "reported",
    "release_years",
    "seasonal_profile",
    "simulate_feedback",
    "simulate_profiles",
    "summarise",
    "suppress",
    "top_cells",
    "tune_places",
    "write_events",
]
