"""The one way to a search or a prediction: the permit checked once more, the use written down, its end too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from crimeface_lib.core.errors import RefusedError
from crimeface_lib.core.hashing import content_hash, sha256_file
from crimeface_lib.core.results import to_plain

if TYPE_CHECKING:
    from crimeface_lib.governance import Permit
    from crimeface_lib.workflow.store import CaseStore


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
    RefusedError : the permit no longer holds; nothing was called. Whatever ``function`` raises.
    """
    store.gate.require(permit)
    reference = content_hash(_reference(store, permit, inputs)).removeprefix("sha256:")
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


def _reference(store: CaseStore, permit: Permit, inputs: Sequence[str]) -> Any:
    """Return what identifies the reference database as it is now: a watchlist's files, or a forecast's inputs."""
    if permit.use.kind != "face_search":
        return sorted(inputs)
    folder = store.watchlist_path(permit.use.dataset)
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}
