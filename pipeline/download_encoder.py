"""Download and verify a pretrained encoder, in a folder of its own."""

from pathlib import Path

from pipeline.stage import run
from serct.config.params import Params
from serct.models import read_encoder_params
from serct.training.encoders import write_encoder


def download_encoder(params: Params, encoder: str, out: Path) -> None:
    """Write the encoder to ``--out``, as its authors publish it."""
    write_encoder(read_encoder_params(params, encoder), out)


if __name__ == "__main__":
    run(__doc__, download_encoder)
