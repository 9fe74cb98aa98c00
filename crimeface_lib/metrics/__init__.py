"""Arrays in, numbers out: how good a score, a calibration, a surface or a forecast is."""

from crimeface_lib.metrics.forecast import hit_rate, mase, pai, pei

__all__ = ["hit_rate", "mase", "pai", "pei"]
