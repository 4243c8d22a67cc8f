"""The form of a model that a service on a CPU is fastest with: its own, or an export to ONNX.

    python -m serct.inference.serving_form FOLDER

makes that of a model's folder, which takes up to half a minute, in the user's cache.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

from serct import __version__
from serct.errors import SerctError
from serct.inference.onnx_model import MODEL_FILE, NOTE_FILE
from serct.models import restore_model_params
from serct.models.checkpoint import load_card
from serct.models.records import CARD
from serct.runtime.cache import cache_folder
from serct.runtime.devices import pick_device
from serct.runtime.digests import file_digest

# What an export is made with; only ONNX Runtime is needed to use one.
_MADE_WITH = ("torch", "onnx", "onnxscript", "onnxruntime")
# Behind whatever serves requests meanwhile.
_NICENESS = 19


def faster_form(folder: Path, device: str, precision: str = "float32") -> Path | None:
    """Return where the export of a model is, or would be; None if the model itself is fastest.

    Args:
        folder: Of a model, or of an export.
        device: As in params.yaml. On a GPU torch is faster.
        precision: See `serct.Predictor.load`. An export computes in float32.

    Raises:
        CheckpointError: If the model's card is missing or damaged.
    """
    if (folder / MODEL_FILE).exists():
        return None
    card = load_card(folder)
    params = restore_model_params(card.architecture, str(folder / CARD))
    if not params.is_faster_exported or any(find_spec(name) is None for name in _MADE_WITH):
        return None
    if pick_device(device).type != "cpu" or precision == "bfloat16":
        return None
    # The card holds the digests of all files.
    digest = file_digest(folder / CARD)
    return cache_folder() / "exports" / f"{card.name}-{digest[:16]}-{__version__}"


def has_form(form: Path) -> bool:
    """Return whether an export has been made."""
    return (form / NOTE_FILE).exists()


def serving_form(folder: Path, device: str) -> Path:
    """Return the folder that a model is served from fastest; make it if it has not been made.

    Raises:
        CheckpointError: If the model is damaged, or the export predicts differently.
        OSError: If the cache cannot be written.
    """
    form = faster_form(folder, device)
    if form is None:
        return folder
    form.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(form.with_name(f".{form.name}.lock")):
        if not has_form(form):
            from serct.inference.exporting import export_onnx

            export_onnx(folder, form)
    return form


if __name__ == "__main__":
    os.nice(_NICENESS)
    try:
        serving_form(Path(sys.argv[1]), "cpu")
    except (SerctError, OSError) as error:
        sys.exit(str(error))
