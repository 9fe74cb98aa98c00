"""Published measurements of adult heads that the built-in model reproduces, and where they are taken.

Means and standard deviations of men and women are pooled half and half: the mean of the means, and the
SD of the mixture. Landmarks carry the names of anthropometry (g glabella, se sellion, prn pronasale, sn
subnasale, ls labrale superius, sto stomion, li labrale inferius, me menton, en/ex inner and outer corner
of the eye, al alare, ch cheilion, zy zygion, go gonion, ft frontotemporale, eu euryon, v vertex, op
opisthocranion, t tragion, sa/sba top and bottom of the ear, pra/pa its front and back).

Figures from ANSUR II are computed from its public microdata and checked; all others were entered without the
printed tables at hand and are not: compare them before quoting one. (Of those, intercanthal breadth agrees
with the pooled 31.4 ± 2.5 mm of White adults in a review of 67 studies, PMC9029890.)

References
----------
ANSUR II: 2012 U.S. Army Anthropometric Survey, public domain, 4,082 men and 1,986 women; report: Gordon C. C.
    et al., NATICK/TR-15/007, 2014. Soldiers, so fitter and with fewer old people than the public.
NIOSH: Zhuang Z., Bradtmiller B., "Head-and-face anthropometric survey of U.S. respirator users",
    J. Occup. Environ. Hyg. 2(11), 2005, 567-576 (2,543 men, 1,454 women; basis of ISO/TS 16976-2).
Farkas: Farkas L. G. (ed.), "Anthropometry of the Head and Face", 2nd ed., Raven Press, 1994 (North
    American white adults).
estimate: our own figure, where we know no published one for this distance. (Bigonial breadth lies between
    Farkas's bony 94 and NIOSH's 115 over the soft parts.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crimeface_lib.core.types import FloatArray
from crimeface_lib.reconstruction import builtin_shape as shape
from crimeface_lib.reconstruction.builtin_chart import RADIUS
from crimeface_lib.reconstruction.builtin_head import Head


@dataclass(frozen=True, slots=True)
class Measurement:
    """One distance: between two landmarks (a leading "-" mirrors it to the right side), along an axis
    ("x", "y", "z") or straight ("d"); mean and SD of men and of women in mm; source."""

    name: str
    a: str
    b: str
    along: str
    men: tuple[float, float]
    women: tuple[float, float]
    source: str

    @property
    def mean(self) -> float:
        return 0.5 * (self.men[0] + self.women[0])

    @property
    def sd(self) -> float:
        within = 0.5 * (self.men[1] ** 2 + self.women[1] ** 2)
        return float(np.sqrt(within + 0.25 * (self.men[0] - self.women[0]) ** 2))


MEASUREMENTS = (
    Measurement("head_breadth", "eu", "-eu", "x", (154.3, 5.5), (147.8, 5.2), "ANSUR II"),
    Measurement("head_length", "g", "op", "d", (199.5, 7.0), (189.8, 7.4), "ANSUR II"),
    Measurement("frontal_breadth", "ft", "-ft", "x", (105.5, 5.7), (102.9, 5.4), "NIOSH"),
    Measurement("bizygomatic_breadth", "zy", "-zy", "x", (142.6, 6.2), (133.8, 5.6), "ANSUR II"),
    Measurement("bigonial_breadth", "go", "-go", "x", (107.0, 7.5), (99.0, 7.0), "estimate"),
    Measurement("face_height", "se", "me", "d", (122.6, 6.7), (113.1, 6.1), "ANSUR II"),
    Measurement("nose_height", "se", "sn", "d", (52.0, 4.1), (48.2, 3.8), "NIOSH"),
    Measurement("upper_lip_height", "sn", "sto", "d", (22.3, 2.1), (20.1, 2.0), "Farkas"),
    Measurement("nose_breadth", "al", "-al", "x", (36.6, 4.1), (33.2, 3.9), "NIOSH"),
    Measurement("nose_protrusion", "sn", "prn", "d", (21.1, 2.7), (19.8, 2.7), "NIOSH"),
    Measurement("nasal_root_breadth", "root", "-root", "x", (16.6, 2.3), (16.3, 2.0), "NIOSH"),
    Measurement("intercanthal_breadth", "en", "-en", "x", (33.3, 2.7), (31.8, 2.3), "Farkas"),
    Measurement("biocular_breadth", "ex", "-ex", "x", (91.2, 3.0), (87.8, 3.2), "Farkas"),
    Measurement("eye_fissure_height", "ps", "pi", "d", (10.8, 0.9), (10.9, 1.2), "Farkas"),
    Measurement("mouth_breadth", "ch", "-ch", "x", (51.1, 4.2), (48.0, 4.0), "NIOSH"),
    Measurement("upper_vermilion_height", "ls", "sto", "d", (8.0, 1.4), (8.7, 1.3), "Farkas"),
    Measurement("lower_vermilion_height", "sto", "li", "d", (9.3, 1.6), (9.4, 1.5), "Farkas"),
    Measurement("ear_length", "sa", "sba", "d", (64.2, 4.5), (59.4, 3.9), "ANSUR II"),
    Measurement("ear_breadth", "pra", "pa", "d", (36.1, 3.0), (33.2, 2.8), "ANSUR II"),
)

# Landmarks as points of the chart (azimuth on the chart in mm, height in mm), left side.
_TURN = RADIUS * np.pi / 180
_CHART_POINTS = {
    "g": (0.0, 15.0),
    "se": (0.0, 1.5),
    "prn": (0.0, -35.0),
    "sn": (0.0, -48.3),
    "ls": (0.0, -61.2),
    "li": (0.0, -78.6),
    "me": (0.0, -121.0),
    "op": (180 * _TURN, 22.0),
    "eu": (103 * _TURN, 34.0),
    "ft": (41 * _TURN, 26.0),
    "zy": (79 * _TURN, -19.0),
    "go": (84 * _TURN, -84.0),
    "t": (95 * _TURN, -20.0),
    "root": (5.3 * _TURN, 0.0),
    "al": (10.3 * _TURN, -41.2),
}


class Landmarks:
    """Barycentric points of the mean head by name; a leading "-" is the right side."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._centroids = head.chart[head.triangles].mean(1)
        self.points: dict[str, tuple[np.ndarray, FloatArray]] = {}
        for name, (x, t) in _CHART_POINTS.items():
            self._add(name, *self.locate(x, t))
        ring, half = head.groups["lid_rim"], len(head.groups["lid_rim"]) // 2
        front, back = shape.from_ear(0.95, np.deg2rad([190.0, 5.0]))
        for name, vertices in {
            "en": ring[[0]], "ex": ring[[half]], "ps": ring[[half // 2]], "pi": ring[[-(half // 2)]],
            "ch": head.groups["lip_upper"][[-1]],
            "sto": np.array([head.groups["lip_upper"][0], head.groups["lip_lower"][0]]),
            "sa": self.nearest(*shape.from_ear(0.92, np.deg2rad([80.0]))[0]),
            "sba": self.nearest(*shape.from_ear(0.92, np.deg2rad([-85.0]))[0]),
            "pra": self.nearest(*front), "pa": self.nearest(*back),
        }.items():  # fmt: skip
            self._add(name, vertices, np.full(len(vertices), 1 / len(vertices)))

    def _add(self, name: str, vertices: np.ndarray, weights: FloatArray) -> None:
        self.points[name] = (vertices, weights)
        self.points["-" + name] = (self._head.mirror[vertices], weights)

    def nearest(self, x: float, t: float) -> np.ndarray:
        """(1,) index of the vertex nearest to a chart point."""
        return np.array([np.argmin(np.hypot(self._head.chart[:, 0] - x, self._head.chart[:, 1] - t))])

    def triangle(self, x: float, t: float) -> tuple[int, FloatArray]:
        """Triangle over a chart point and the weights of its corners."""
        candidates = np.argsort(np.hypot(self._centroids[:, 0] - x, self._centroids[:, 1] - t))[:60]
        corners = self._head.chart[self._head.triangles[candidates]]
        system = np.concatenate([corners.transpose(0, 2, 1), np.ones((len(candidates), 1, 3))], axis=1)
        weights = np.linalg.solve(system, np.broadcast_to([[x], [t], [1.0]], (len(candidates), 3, 1)))[..., 0]
        best = int(np.argmax(weights.min(1)))
        chosen = np.clip(weights[best], 0, None)
        return int(candidates[best]), chosen / chosen.sum()

    def locate(self, x: float, t: float) -> tuple[np.ndarray, FloatArray]:
        index, weights = self.triangle(x, t)
        return self._head.triangles[index], weights

    def position(self, vertices: FloatArray, name: str) -> FloatArray:
        """Where landmark ``name`` lies on ``vertices`` (..., V, 3)."""
        index, weights = self.points[name]
        return np.einsum("...vd,v->...d", vertices[..., index, :], weights)

    def measure(self, vertices: FloatArray) -> FloatArray:
        """All of MEASUREMENTS on ``vertices`` (..., V, 3), mm."""
        out = []
        for m in MEASUREMENTS:
            gap = self.position(vertices, m.a) - self.position(vertices, m.b)
            out.append(np.linalg.norm(gap, axis=-1) if m.along == "d" else np.abs(gap[..., "xyz".index(m.along)]))
        return np.stack(out, axis=-1)
