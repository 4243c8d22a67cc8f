"""What one service is started with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serct.config.reader import read_yaml
from serct.config.section import validate
from serct.config.serving import ServingParams


@dataclass(frozen=True)
class Settings:
    """A model and how to serve it.

    Attributes:
        model: A registry address such as "models:/serct@champion", followed while the service
            runs, or a model's folder.
        workspace: Folder whose registry is used.
        device: "auto", "cpu", "cuda" or "mps".
        precision: See `serct.Predictor.load`.
        api_key: Key that clients may send; None if there is none.
        keys_file: File of more keys; see `serct.serving.access.keys`. Without both, clients need
            none.
        allow_origins: Sites whose pages may use the service from a browser.
        allow_hosts: Names of the service in the header Host; None for any.
        limits: The ``serving`` section of params.yaml.
        num_copies: Of the service, which share nothing.
    """

    model: str
    workspace: Path
    device: str = "cpu"
    precision: str = "float32"
    api_key: str | None = None
    keys_file: Path | None = None
    allow_origins: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] | None = None
    limits: ServingParams = field(default_factory=ServingParams)
    num_copies: int = 1


def read_limits(workspace: Path, options: Mapping[str, Any]) -> ServingParams:
    """Read the limits of a workspace, replaced by options of the command line.

    A folder without params.yaml, or with one of an older version, has the defaults.

    Raises:
        ParamsError: If a limit is unknown, ill-typed or out of range.
    """
    validate(ServingParams, options, "command line")
    path = workspace / "params.yaml"
    section = read_yaml(path).get("serving", {}) if path.exists() else {}
    kept = validate(ServingParams, section, str(path), "serving")
    return kept.model_copy(update=dict(options))
