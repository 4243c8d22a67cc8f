"""The model as MLflow serves it, for `mlflow.pyfunc.load_model` and `mlflow models serve`.

MLflow runs this file when it loads a model ("models from code"), so nothing is unpickled: it
works with MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false. The code is that of the installed serct;
the model's card holds the format it needs.
"""

import base64
import io
import re
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel

from serct.errors import SerctError

if TYPE_CHECKING:
    from serct import Predictor

_TEXT = re.compile(rb"[\t\n\r -~]+")


class EmotionModel(PythonModel):
    """Audio files in, the probability of each emotion out."""

    predictor: "Predictor"

    def load_context(self, context: Any) -> None:
        """Load the model's folder."""
        # Here, not above: MLflow also runs this file when it only saves a model.
        from serct import Predictor

        self.predictor = Predictor.load(context.artifacts["model"])

    # Without type hints: MLflow would take them for the signature, and a frame cannot be one.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Predict for audio files.

        Args:
            context: Unused.
            model_input: A frame whose column ``audio`` holds the bytes of one audio file a row.
                JSON clients send them in base64, which MLflow decodes in some of its forms only.
            params: Unused.

        Returns:
            A row for each file, about all of it: the probability of each emotion (also where
            nobody speaks), the ``emotion``, which may be "uncertain" or "no_speech",
            ``duration_s``, ``analysed_s`` and ``speech_s``.

        Raises:
            MlflowException: If a file is not usable audio; HTTP clients get status 400.
        """
        rows = [
            self._predict_one(number, audio) for number, audio in enumerate(model_input["audio"])
        ]
        return pd.DataFrame(rows)

    def _predict_one(self, number: int, audio: Any) -> dict[str, Any]:
        try:
            file = io.BytesIO(_audio_bytes(number, audio))
            found = self.predictor.analyse_file(file)
            probabilities = found.probabilities or self.predictor.predict_file(file)
        except SerctError as error:
            raise MlflowException.invalid_parameter_value(f"row {number}: {error}") from error
        return {
            **probabilities,
            "emotion": found.emotion, "duration_s": found.duration_s,
            "analysed_s": found.analysed_s, "speech_s": found.speech_s,
        }  # fmt: skip


def _audio_bytes(row: int, value: Any) -> bytes:
    """Return the audio file that a client sent, as bytes or as base64 text.

    MLflow decodes base64 under ``dataframe_split`` and ``dataframe_records``, and hands it on as
    ASCII bytes under ``inputs`` and ``instances``. No audio file is printable text throughout.

    Raises:
        MlflowException: If it is neither; HTTP clients get status 400.
    """
    expected = "expected the bytes of an audio file, or their base64"
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, bytes | bytearray | memoryview):
        raise MlflowException.invalid_parameter_value(f"row {row}: found {value!r:.60}, {expected}")
    content = bytes(value)
    if not _TEXT.fullmatch(content):
        return content
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except ValueError as error:
        found = content[:40].decode("ascii")
        raise MlflowException.invalid_parameter_value(
            f"row {row}: found text that begins with {found!r}, {expected} ({error})"
        ) from error


mlflow.models.set_model(EmotionModel())
