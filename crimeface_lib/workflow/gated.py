"""The one way to a search or a prediction: the permit checked once more, the use written down, its end too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

from crimeface_lib.core.errors import RefusedError
from crimeface_lib.core.hashing import content_hash, sha256_file
from crimeface_lib.core.results import to_plain

if TYPE_CHECKING:
    from crimeface_lib.governance import Permit
    from crimeface_lib.workflow.store import CaseStore


#: What kind of permit a gated function needs.
_KINDS = {"search": "face_search", "geographic_profile": "geographic_profile"} | dict.fromkeys(
    ("predict_places", "evaluate_places", "tune_places", "check_places", "forecast"), "place_prediction"
)  # an evaluation also runs models to compare with, on past months only; its result says so
#: How an assessment names the pool that ``crime.forecast`` weights anew each time, and its version.
SERIES_MODEL = ("series_pool", "1")


def check_dataset(dataset: str, events: Any, *, otherwise: str = "") -> None:
    """Check that ``dataset`` may name these events: a DPIA for a synthetic dataset covers the synthetic sample only.

    What the events are is read from them, not from what a config calls them.

    Parameters
    ----------
    otherwise : what else could be done, for the end of the message.

    Raises
    ------
    RefusedError : the name of a synthetic dataset, and events that are not the sample.
    """
    from crimeface_lib.crime import SYNTHETIC_ATTRIBUTION

    if dataset.startswith("synthetic-") and events.attribution != SYNTHETIC_ATTRIBUTION:
        raise RefusedError(
            f"dataset: these events are not the synthetic sample, so {dataset!r} doesn't name them; "
            f"say what they are, under a DPIA that covers it{otherwise}"
        )


def run_under_permit(
    store: CaseStore,
    permit: Permit,
    function: Callable[..., Any],
    *arguments: Any,
    inputs: Sequence[str],
    reviewers: Sequence[str] = (),
    **options: Any,
) -> Any:
    """Return ``function(*arguments, **options)`` if ``permit`` still holds; start and end are in the audit log.

    Parameters
    ----------
    inputs : SHA-256 of each input of the run. reviewers : accounts that will decide on what comes out.

    Raises
    ------
    RefusedError : the permit no longer holds, or is for another kind of use or another model; nothing was called.
        Whatever ``function`` raises.
    """
    store.gate.require(permit)
    _check_covered(store, permit, function, arguments, options)
    digest = getattr(getattr(function, "__self__", None), "digest", "")  # of a watchlist, also one in a database
    reference = content_hash([_reference(store, permit, inputs), digest]).removeprefix("sha256:")
    actor = permit.use.actor
    use = store.audit.start_use(
        actor=actor, at=store.clock(), permit=permit.content_hash, reference_sha256=reference,
        input_sha256=list(inputs), reviewers=list(reviewers),
    )  # fmt: skip
    outcome, outputs = "failed", []
    try:
        result = function(*arguments, **options)
        outcome, outputs = "completed", [content_hash(to_plain(result))]
    except RefusedError:
        outcome = "refused"
        raise
    finally:
        store.audit.end_use(use, actor=actor, at=store.clock(), outcome=outcome, output_sha256=outputs)
    return result


def _check_covered(
    store: CaseStore, permit: Permit, function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """Refuse a permit for something else than what is called: a forecast's for a search, one model's for another."""
    use = permit.use
    kind = _KINDS.get(getattr(function, "__name__", ""), use.kind)
    probe = arguments[0] if kind == "face_search" and arguments else None
    version = str(getattr(probe, "version", use.model_version))
    if version.startswith(f"{use.model_version}+"):  # made from a photo and its mirror image, by the same weights
        version = use.model_version
    forecast = arguments[2] if len(arguments) > 2 and kind == "place_prediction" else None
    model = getattr(probe, "embedder", getattr(forecast, "model", options.get("model", use.model)))
    if getattr(function, "__name__", "") == "forecast":
        model, version = SERIES_MODEL
    if kind == "geographic_profile":
        model = options.get("method", signature(function).parameters["method"].default)
    got = {"kind": kind, "model": model, "model_version": version}
    if differing := [f"{name}: got {value}" for name, value in got.items() if value != getattr(use, name)]:
        message = f"the permit under DPIA {permit.dpia} is not for this call: {'; '.join(differing)}; ask for one"
        store.people.refuse(use.actor, kind, "other_permit", message, dpia=permit.dpia)


def _reference(store: CaseStore, permit: Permit, inputs: Sequence[str]) -> Any:
    """Return what identifies the reference database as it is now: a watchlist's files, or a forecast's inputs."""
    if permit.use.kind != "face_search":
        return sorted(inputs)
    folder = store.watchlist_path(permit.use.dataset)
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}
