"""Obtain a pretrained encoder, verified: from the user's mirror, the cache or the Hugging Face hub.

Only its configuration and its weights in safetensors are read: no code of others, no pickle.
"""

import shutil
from pathlib import Path

from filelock import FileLock

from serct.data.download import Progress, Remote, download
from serct.data.reading.sources import Sources
from serct.errors import DownloadError, ParamsError
from serct.models.encoders.params import EncoderParams
from serct.models.encoders.weights import CONFIG, WEIGHTS, read_config, read_weights, weights_digest
from serct.runtime import atomic, log

_HUB = "https://huggingface.co"
_FOLDER = "encoders"


def find_encoder(
    encoder: EncoderParams,
    own: Path | None = None,
    sources: Sources | None = None,
    progress: Progress = log.progress,
) -> Path:
    """Return a folder with an encoder's files, downloaded if no other place has it.

    Args:
        encoder: The encoder.
        own: The folder that `write_encoder` wrote, where it is looked for first.
        sources: Where to look; from the environment if left out.
        progress: Opens progress bars.

    Raises:
        DownloadError: If it cannot be had, or is not the expected one.
    """
    if encoder.path is not None:
        return _checked(encoder, Path(encoder.path).expanduser())
    if own is not None and own.is_dir():
        return _checked(encoder, own)
    sources = sources or Sources.from_environment()
    mirrored = sources.mirror / _FOLDER / encoder.folder_name if sources.mirror else None
    if mirrored is not None and mirrored.is_dir():
        return _checked(encoder, mirrored)
    # A commit's files never change, so they need no other name.
    cached = sources.cache / _FOLDER / f"{encoder.folder_name}-{encoder.revision}"
    if not (cached / WEIGHTS).exists():
        _download(encoder, cached, sources, mirrored, progress)
    return _checked(encoder, cached)


def write_encoder(encoder: EncoderParams, destination: Path) -> None:
    """Write an encoder's files into a folder of their own, whole or not at all.

    Raises:
        DownloadError: As `find_encoder`.
    """
    found = find_encoder(encoder)
    with atomic.replacing_folder(destination) as folder:
        for name in (CONFIG, WEIGHTS):
            shutil.copyfile(found / name, folder / name)


def _download(
    encoder: EncoderParams,
    folder: Path,
    sources: Sources,
    mirrored: Path | None,
    progress: Progress,
) -> None:
    address = f"{_HUB}/{encoder.repository}"
    if sources.offline:
        raise DownloadError(
            f"the encoder {encoder.name} was not found, and SERCT_OFFLINE forbids the network.\n"
            f"Looked for a folder with {CONFIG} and {WEIGHTS} at\n"
            f"  the mirror {mirrored or '(SERCT_MIRROR is not set)'}\n  the cache {folder}\n"
            f"Get it from {address}, commit {encoder.revision}, or unset SERCT_OFFLINE"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        # The weights last: with them the folder is complete.
        for name in (CONFIG, WEIGHTS):
            url = f"{address}/resolve/{encoder.revision}/{name}"
            download(Remote(url), folder / name, progress)


def _checked(encoder: EncoderParams, folder: Path) -> Path:
    """Return a folder after checking that it holds that encoder."""
    try:
        read_config(folder)
        if encoder.sha256 is not None:
            found = weights_digest(read_weights(folder))
            if found != encoder.sha256:
                raise DownloadError(
                    f"{folder / WEIGHTS}: not the encoder {encoder.name}: SHA-256 of its weights "
                    f"{found}, expected {encoder.sha256}"
                )
        elif not (folder / WEIGHTS).is_file():
            raise DownloadError(f"{folder}: {WEIGHTS} is missing")
    except ParamsError as error:
        raise DownloadError(str(error)) from error
    return folder
