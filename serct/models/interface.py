"""What every model file provides: one class of params, which builds the model.

A model is one file, `serct/models/<architecture>.py`. It holds a subclass of `TorchParams` or
`ClassicalParams` that names its architecture, with the keys of its entry in params.yaml and the
model's traits, and the model itself.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, Union

from pydantic import Field, JsonValue, PrivateAttr

from serct.config.params import TrainParams
from serct.config.section import Section
from serct.errors import CheckpointError
from serct.models.classical.estimator import ClassicalModel

if TYPE_CHECKING:
    from torch import nn


class _ModelSection(Section):
    """An entry under ``models``: what every model has besides its own keys.

    Attributes:
        train: Values of `train` for this model alone, so that tuning it retrains no other.
        architecture: The name of the model's file, in a model `Literal["<name>"]`.
    """

    train: dict[str, JsonValue] = Field(default_factory=dict)
    architecture: str

    # The card that the params were read from, if it lacks keys.
    _card: str = PrivateAttr("")

    # A model overrides what is true of it, as a ClassVar or, where a key decides, as a property.

    @property
    def masks_padding(self) -> bool:
        """Whether zeros after a recording cannot change the prediction."""
        return False

    @property
    def adapts_to_speaker(self) -> bool:
        """Whether recordings of a speaker, without labels, improve the predictions for it."""
        return False

    @property
    def is_faster_exported(self) -> bool:
        """Whether a service on a CPU is faster with the ONNX form, which it makes in use."""
        return False

    @property
    def licence(self) -> str:
        """Of what the model needs, where it binds users more than the licence of serct does."""
        return ""

    def used_settings(self, train: TrainParams) -> dict[str, Any]:
        """Return the settings of training that decide this model, as plain data: here all."""
        return _dump(train)

    def decisive(self) -> dict[str, Any]:
        """Return, as plain data, what decides the model besides `train`: all but descriptions."""
        content = self.model_dump(mode="json", exclude={"train"})
        if isinstance(encoder := content.get("encoder"), dict):
            words = ("licence", "trained_on")
            content["encoder"] = {k: v for k, v in encoder.items() if k not in words}
        return content

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Raise an error that names the key, if the model's card lacks it."""
            if name in type(self).model_fields:
                raise CheckpointError(
                    f"{self._card}: architecture.{name} is missing: the model was saved by a "
                    "version without this key, and this version needs it"
                )
            return super().__getattr__(name)


class TorchParams(_ModelSection):
    """Params of a torch model, which the training loop trains step by step."""

    # Python calls each of a network's many small steps; ONNX Runtime takes the whole.
    is_faster_exported: ClassVar[bool] = True

    @abstractmethod
    def build(self, num_samples: int, sample_rate_hz: int, num_emotions: int) -> "nn.Module":
        """Return the model with random weights, drawn from torch's global generator.

        It takes ``waveforms``, float32 [B, M] in [-1, 1], zero behind each clip, and understood to
        go on with zeros if shorter than N; and ``num_valid``, int64 [B], the samples of each that
        are not padding, 1..M. It returns logits, [B, K]. `serct export` traces it with
        `torch.export`: shapes are read as ``tensor.shape``, and no step depends on values.

        Args:
            num_samples: N, the length of a row; longer ones work too.
            sample_rate_hz: Of the rows.
            num_emotions: K.

        Raises:
            ParamsError: If the rows are too short for the architecture.
        """

    def standalone(self, module: "nn.Module") -> Section:
        """Return params with `build` that need no file: here themselves.

        Args:
            module: What `build` returned; its weights are loaded into what the others build.
        """
        return self


class ClassicalParams(_ModelSection):
    """Params of a model that scikit-learn fits as a whole.

    Attributes:
        settings: The keys of `train` that decide the model; a change of others does not train it
            anew.
    """

    @property
    def num_changed(self) -> int:
        """How often each clip is learned from changed, if there is `train.augment`."""
        return 1

    settings: ClassVar[tuple[str, ...]] = ("augment", "balance", "max_error")

    def used_settings(self, train: TrainParams) -> dict[str, Any]:
        """Return the settings of training that decide this model, as plain data."""
        return _dump(train, set(self.settings))

    @abstractmethod
    def build(self, train: TrainParams, seed: int, sample_rate_hz: int) -> ClassicalModel:
        """Return the model, not yet fitted. scikit-learn, 2 s, is imported no earlier.

        Args:
            train: Epochs, batch size, learning rate and weight decay, as far as they apply.
            seed: Of weights, shuffling and folds.
            sample_rate_hz: Of the rows.
        """


def _dump(train: TrainParams, names: set[str] | None = None) -> dict[str, Any]:
    """Return settings as plain data; without balance there is none, as before there was the key."""
    found: dict[str, Any] = train.model_dump(mode="json", include=names)
    return {k: v for k, v in found.items() if k != "balance" or v is not None}


ModelParams: TypeAlias = TorchParams | ClassicalParams
# A string, since torch takes 2 s to import.
Model: TypeAlias = Union["nn.Module", ClassicalModel]
