"""The form of a model that a service on a CPU is fastest with."""

from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

from serct import __version__
from serct.inference.onnx_model import MODEL_FILE, NOTE_FILE
from serct.models import restore_model_params
from serct.models.checkpoint import load_card
from serct.models.records import CARD
from serct.runtime.cache import cache_folder
from serct.runtime.devices import pick_device
from serct.runtime.digests import file_digest
from serct.runtime.log import logger

# What an export is made with; none of it is needed to use one.
_MADE_WITH = ("torch", "onnx", "onnxscript", "onnxruntime")


def serving_form(folder: Path, device: str) -> Path:
    """Return the folder to serve a model from.

    That is its own, or an export to ONNX in the user's cache where ONNX Runtime is faster; it is
    made at the first call, which takes some seconds.

    Args:
        folder: Of a model.
        device: As in params.yaml. On a GPU torch is faster.

    Raises:
        CheckpointError: If the model is damaged, or the export predicts differently.
    """
    if (folder / MODEL_FILE).exists():
        return folder
    card = load_card(folder)
    params = restore_model_params(card.architecture, str(folder / CARD))
    if not params.is_faster_exported or any(find_spec(name) is None for name in _MADE_WITH):
        return folder
    if pick_device(device).type != "cpu":
        return folder
    # The card holds the digests of all files.
    digest = file_digest(folder / CARD)
    exported = cache_folder() / "exports" / f"{card.name}-{digest[:16]}-{__version__}"
    exported.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(exported.with_name(f".{exported.name}.lock")):
        if not (exported / NOTE_FILE).exists():
            from serct.inference.exporting import export_onnx

            logger.info("%s: converted to ONNX once, for speed: %s", card.name, exported)
            export_onnx(folder, exported)
    return exported
