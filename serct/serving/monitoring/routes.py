"""The HTTP route that compares the last predictions with the validation part."""

import anyio
from fastapi import APIRouter

from serct.evaluation.drift import LEAST
from serct.serving import schemas
from serct.serving.monitoring.drift import VersionDrift
from serct.serving.routes import PROBLEMS
from serct.serving.state import ServiceState


def drift_routes(state: ServiceState) -> APIRouter:
    """Return the route for drift."""
    router = APIRouter(tags=["state"], responses={401: PROBLEMS[401]})

    @router.get("/drift")
    async def drift() -> list[schemas.Drift]:
        """Say how far the last predictions of each version are from its validation part.

        Of each prediction a few bins are counted, in memory, and nothing of its audio is kept. The
        version used last comes last. Of several copies of the service each counts its own.
        """
        # In a thread: thresholds take a while.
        found = await anyio.to_thread.run_sync(state.metrics.drift.drift)
        return [_response(each) for each in found]

    return router


def _response(found: VersionDrift) -> schemas.Drift:
    return schemas.Drift(
        version=found.model.version,
        model=found.model,
        predictions=found.num_predictions,
        reference=found.reference.recordings if found.reference else None,
        least=LEAST,
        problem=_problem(found),
        quantities=[
            schemas.QuantityDrift(
                quantity=each.quantity.name, title=each.quantity.title, unit=each.quantity.unit,
                distance=each.distance, threshold=each.threshold, is_drifting=each.is_drifting,
                bins=[
                    schemas.Bin(
                        name=name, current=current,
                        reference=each.reference[number] if each.reference else None,
                    )
                    for number, (name, current) in enumerate(
                        zip(each.bins, each.current, strict=True)
                    )
                ],
            )
            for each in found.quantities
        ],
    )  # fmt: skip


def _problem(found: VersionDrift) -> str | None:
    if found.reference is None:
        return (
            "the model's card has no reference: it was trained by an older version of SERCT, or "
            "without voice activity; train it anew"
        )
    if all(each.distance is None for each in found.quantities):
        return (
            f"{found.num_predictions} predictions and {found.reference.recordings} recordings in "
            f"the reference, expected at least {LEAST} of both"
        )
    return None
