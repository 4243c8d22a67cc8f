"""The model as MLflow serves it, for `mlflow.pyfunc.load_model` and `mlflow models serve`.

MLflow runs this file when it loads a model ("models from code"), so nothing is unpickled: it
works with MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false. The code is that of the installed serct;
the model's card holds the format it needs.
"""

import io
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel

from serct.errors import SerctError

if TYPE_CHECKING:
    from serct import Predictor


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
            model_input: A frame whose column ``audio`` holds the bytes of one audio file a row;
                JSON clients send them in base64, which MLflow decodes.
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

    def _predict_one(self, number: int, audio: bytes) -> dict[str, Any]:
        try:
            file = io.BytesIO(audio)
            found = self.predictor.analyse_file(file)
            probabilities = found.probabilities or self.predictor.predict_file(file)
        except SerctError as error:
            raise MlflowException.invalid_parameter_value(f"row {number}: {error}") from error
        return {
            **probabilities,
            "emotion": found.emotion, "duration_s": found.duration_s,
            "analysed_s": found.analysed_s, "speech_s": found.speech_s,
        }  # fmt: skip


mlflow.models.set_model(EmotionModel())
