"""What the pixels add to the landmarks: light, albedo, and a shape that explains both, where that is credible."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from crimeface_lib.core.arrays import check_image
from crimeface_lib.core.display import Shown
from crimeface_lib.core.errors import ShapeError
from crimeface_lib.reconstruction import light
from crimeface_lib.reconstruction.camera import Camera
from crimeface_lib.reconstruction.fit import Fit
from crimeface_lib.reconstruction.morphable import MorphableModel
from crimeface_lib.reconstruction.photometric_solver import Compared, Refiner, State
from crimeface_lib.reconstruction.pixels import surface_of, to_pictures
from crimeface_lib.reconstruction.view import View

#: For how many independent observations a photo's pixels count: thousands of pixels share their errors
#: (cast shadow, shine, make-up), so a photo says little more than its landmarks do.
_SAY = 100.0
#: The shape may move this far, in squared standard deviations of the landmark fit and as a share of what the
#: pixels claim to have told. Drawn faces stay below 0.4, or reach 0.5 to 3 with a cast shadow across the face.
_CREDIBLE = 0.65
#: Part of the landmarks' chi² by which it may rise.
_LANDMARK_RISE = 0.25
#: Fewer vertices than this in sight say nothing.
_ENOUGH = 150


@dataclass(frozen=True, slots=True, repr=False)
class Shading(Shown):
    """What the pixels told.

    Parameters
    ----------
    fit : refined, or the one it started from where the pixels' story wasn't credible.
    lighting : (views, 9, 3) spherical harmonics in the viewer's frame (``light``), red, green, blue; scaled so that
        an even light of 1 shows the albedo about as bright as the first photo. Empty where no photo showed skin.
    albedo : (V, 3) linear, smooth.
    refined : whether ``fit`` moved.
    surprise : how far the shape moved beside what was credible, 1 is the limit.
    warnings : sentences for the reader.
    """

    fit: Fit
    lighting: np.ndarray
    albedo: np.ndarray = field(repr=False)
    refined: bool
    surprise: float
    warnings: tuple[str, ...]


def refine_photometric(
    model: MorphableModel,
    fit: Fit,
    views: list[View],
    images: list[np.ndarray],
    *,
    shared_expression: bool = False,
    slide_contour: bool = True,
) -> Shading:
    """Explain the photos' pixels by light, albedo and shape, starting from a landmark fit.

    Light is nine bands of spherical harmonics a photo, albedo a smooth field that all photos share plus grain
    that is integrated out. Damped Gauss–Newton, each step of which lowers the cost: first light and albedo, then
    everything, on ever sharper pictures; landmarks and priors stay in. Burnt-out pixels, what is turned away
    and what is not the middle of the face have no say; shine, which is paler than the skin, and colours that
    don't fit lose theirs (Geman–McClure), those that are too bright sooner.

    The result is kept only where it is credible: the shape moved no further than the landmarks' own uncertainty
    allows for what the pixels claim to know, and the landmarks still fit. Else ``fit`` comes back, with a warning.
    ``vertex_sd`` stays that of the landmarks: pixels share errors that no posterior of ours counts.

    Parameters
    ----------
    fit : of ``fit_landmarks`` to ``views``.
    images : (H, W, 3) uint8 RGB, one for each view.

    Raises
    ------
    ShapeError : not as many images as views, or of another size.

    References: Ramamoorthi and Hanrahan 2001 (harmonics); Bar-Shalom et al. 2001, 5.4 (consistency of a step).
    """
    from threadpoolctl import threadpool_limits

    photos = [check_image(image) for image in images]
    if [photo.shape[:2] for photo in photos] != [tuple(view.size) for view in views]:
        raise ShapeError(f"images: got {[p.shape[:2] for p in photos]}, expected {[view.size for view in views]}")
    surface = surface_of(model)
    if not slide_contour:
        surface = replace(surface, jaw=())
    shapes = [surface.decode(np.r_[fit.identity, row]) + surface.origin for row in fit.expressions]
    pictures = to_pictures(photos, fit.cameras, shapes)
    with threadpool_limits(1, user_api="blas"):
        refiner = Refiner(model, surface, views, pictures, shared=shared_expression, say=_SAY)
        begin = refiner.start(fit)
        end = refiner.run(begin)
        if sum(float(weight.sum()) for weight in refiner.shown) < _ENOUGH:
            return _unlit(model, fit)
        found = refiner.compare(end)
        surprise = _surprise(refiner, begin, end, found)
        refined = surprise < 1
        if not refined:  # light and albedo for the shape that stays
            end = refiner.relight(replace(end, **{name: getattr(begin, name) for name in _SHAPE}))
            found = refiner.compare(end)
    warnings = () if refined else (
        "The photo's shading contradicts its landmarks (a cast shadow, shine or something before the face?): "
        "the shape is that of the landmarks alone, and the light is a rough estimate.",
    )  # fmt: skip
    return _describe(model, fit, refiner, end, found, surprise, warnings)


_SHAPE = ("identity", "expressions", "rotations", "shifts", "log_focal")


def _surprise(refiner: Refiner, begin: State, end: State, found: list[Compared]) -> float:
    """Return how far the shape went beside the limit: in the landmarks' standard deviations, squared, for each
    degree of freedom that the pixels claim; and by how much the landmarks fit worse."""
    at_start = refiner.compare(begin)
    landmarks = refiner.identity_precision(begin, at_start, refiner.nothing())
    both = refiner.identity_precision(end, found, refiner.pixel_trust(found))
    moved = end.identity - begin.identity
    told = len(moved) - float(np.trace(np.linalg.solve(both, landmarks)))
    before, after = refiner.landmark_chi2(begin), refiner.landmark_chi2(end)
    rise = (after - before) / max(before, 0.2 * refiner.seen.sum())
    return max(float(moved @ landmarks @ moved) / (_CREDIBLE * max(told, 1.0)), rise / _LANDMARK_RISE)


def _unlit(model: MorphableModel, fit: Fit) -> Shading:
    warning = "Too little skin is seen to tell light from skin colour: the shape is that of the landmarks alone."
    return Shading(fit, np.zeros((0, 9, 3)), np.full((len(model.mean), 3), 0.4), False, 0.0, (warning,))


def _describe(
    model: MorphableModel, fit: Fit, refiner: Refiner, end: State, found: list[Compared], surprise: float,
    warnings: tuple[str, ...],
) -> Shading:  # fmt: skip
    """Return the Shading, with lamp and skin colour told apart and the first photo's exposure."""
    fields, _ = light.albedo_basis(model)
    kept = refiner.shown[0] > 0.2
    lit = np.median(found[0].shone[kept] if kept.any() else found[0].shone, 0)
    lamp = light.lamp_colour(end.tone * lit) / lit
    if not warnings:
        cameras = tuple(
            Camera(rotation, shift - rotation @ refiner.surface.origin, float(np.exp(focal)), old.principal, old.size)
            for rotation, shift, focal, old in zip(end.rotations, end.shifts, end.log_focal, fit.cameras, strict=True)
        )
        fit = replace(fit, identity=end.identity, expressions=end.expressions, cameras=cameras)
    albedo = end.tone * np.exp(fields @ end.fields) / lamp
    return Shading(fit, end.lighting * lamp, np.clip(albedo, 0, 1), not warnings, surprise, warnings)
