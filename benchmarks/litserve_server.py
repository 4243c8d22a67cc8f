"""A model behind LitServe, for `benchmarks/serving.py` alone.

    PYTHON benchmarks/litserve_server.py --model models:/serct@champion --workspace build/demo \
        --workers 2 --port 8001

It does the work of `serct serve` as well as LitServe can: the same decoding (though in the process
of the model), voice activity and predictor, for all recordings of a batch together, in processes
that share the cores. PYTHON is a Python with litserve and with everything that SERCT needs.
"""

import argparse
import base64
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import litserve

from serct import Predictor
from serct.data.voice_activity import load_network
from serct.inference.recording import RecordingPrediction
from serct.inference.serving_form import serving_form
from serct.runtime.machine import share_threads
from serct.serving.analysis import Analysis
from serct.serving.decoding.decoder import decode
from serct.serving.decoding.process import DecodedAudio
from serct.tracking import find_model

MAX_BATCH = 16
BATCH_TIMEOUT_S = 0.002
_MAX_CLIP_S = 60.0


class Emotions(litserve.LitAPI):  # type: ignore[misc]
    """Recordings in, predictions out."""

    def __init__(self, model: Path, num_workers: int, **options: Any) -> None:
        super().__init__(**options)
        self._model, self._num_workers = model, num_workers

    def setup(self, device: str) -> None:
        """Load the model, in each process."""
        share_threads(self._num_workers)
        self._analysis = Analysis(Predictor.load(self._model))
        load_network()

    def decode_request(self, request: dict[str, str]) -> DecodedAudio:
        """Decode one recording."""
        source = io.BytesIO(base64.b64decode(request["audio"]))
        found = decode(source, "audio", _MAX_CLIP_S)
        return DecodedAudio(found.waveform, found.sample_rate, found.notes)

    def batch(self, inputs: Sequence[DecodedAudio]) -> Sequence[DecodedAudio]:
        """Leave recordings as they are: they differ in length."""
        return inputs

    def predict(self, recordings: Sequence[DecodedAudio]) -> list[RecordingPrediction | Exception]:
        """Analyse all recordings of a batch together."""
        return self._analysis(recordings)

    def unbatch(self, output: Any) -> Any:
        """Leave predictions as they are, a list."""
        return output

    def encode_response(self, found: RecordingPrediction) -> dict[str, Any]:
        """Return what `serct serve` returns, but for its form."""
        return {key: value for key, value in asdict(found).items() if key != "steps"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    folder = serving_form(find_model(arguments.model, arguments.workspace), "cpu")
    api = Emotions(
        folder, arguments.workers, max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT_S
    )
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=arguments.workers, fast_queue=True
    )
    server.run(
        host="127.0.0.1", port=arguments.port, generate_client_file=False, log_level="warning",
        access_log=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
