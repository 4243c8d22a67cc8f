"""What can go wrong through no fault of this code: one class for each kind of bad input.

Every message says where, what was found and what was expected. Only the stage frame, the
command line and the service turn these into exit codes or HTTP answers.
"""

from collections.abc import Sequence


class SerctError(Exception):
    """Any problem that the user can mend."""


class ParamsError(SerctError):
    """params.yaml or a profile holds an unknown, missing or ill-typed key."""


class DiskError(SerctError):
    """A file cannot be written: the disk is full, read-only or failing, or access is denied."""


class DownloadError(SerctError):
    """A corpus could not be had: nothing found, cut off, or not the expected bytes."""


class CorpusError(SerctError):
    """A corpus folder is not laid out as its reader expects."""


class AudioError(SerctError):
    """A file is not usable audio."""


class ManifestError(SerctError):
    """A manifest is inconsistent, or a split breaks its protocol's promise."""


class ShardError(SerctError):
    """Shards are missing, incomplete, or do not fit the code that reads them."""


class CheckpointError(SerctError):
    """A saved model is missing, damaged, incomplete, or of a format this version cannot read."""


class PredictionError(SerctError):
    """A model gives no probabilities: values that are not numbers, or that do not sum to 1."""


class SpeakerError(SerctError):
    """A speaker cannot be enrolled, or was enrolled with another model."""


class UnknownSpeakerError(SpeakerError):
    """A service holds no such speaker."""


class RecordError(SerctError):
    """A file that this code keeps is not readable, incomplete, or of a newer version."""


class TrainingError(SerctError):
    """Training cannot go on, for example because the loss is no longer finite."""


class TrackingError(SerctError):
    """The tracking store or registry cannot be used or does not hold what was asked for."""


class UnknownVersionError(TrackingError):
    """The registry can be read, and has no such version."""


class ReportError(SerctError):
    """A result that the report needs is missing, unreadable, or of another training."""


class KeysError(SerctError):
    """A file of API keys is missing, not readable or wrong."""


class BackendUnavailableError(SerctError):
    """An optional package was chosen in params.yaml but cannot be imported."""


def list_problems(problems: Sequence[str], limit: int = 50) -> str:
    """Format problems one a line, indented; beyond ``limit`` only their number is given."""
    lines = [f"  {problem}" for problem in problems[:limit]]
    if len(problems) > limit:
        lines.append(f"  ... and {len(problems) - limit} more")
    return "\n".join(lines)
