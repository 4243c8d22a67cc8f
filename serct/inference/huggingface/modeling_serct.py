"""A speech emotion model of SERCT in Hugging Face's transformers.

`serct export --format huggingface` copies this file beside a model's weights, with what the model
needs of SERCT's own code: there it runs without SERCT. In a copy `Architecture` is the class that
builds the model's own network.

Shapes: B batch, M samples of a padded batch, N of a row of the model, W windows, K emotions.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BatchFeature, PretrainedConfig, PreTrainedModel, SequenceFeatureExtractor
from transformers.modeling_outputs import SequenceClassifierOutput

from serct.data.decoding.level import Level
from serct.data.preparing import to_pcm16
from serct.data.windows import SMALLEST, Plan, Timing
from serct.errors import AudioError
from serct.models.interface import TorchParams as Architecture
from serct.runtime.arrays import PCM_SCALE, Floats

# Windows of long recordings that are computed together.
_WINDOWS_AT_ONCE = 16


class SerctConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """The configuration of a model.

    Attributes:
        network: Params of the network, as plain data.
        num_samples: N; a longer recording is predicted in windows of N samples.
        sampling_rate: Of recordings, in Hz.
        calibration_temperature: Logits are divided by it, which calibrates the probabilities.
    """

    model_type = "serct"

    def __init__(
        self,
        network: dict[str, Any] | None = None,
        num_samples: int = 16_000,
        sampling_rate: int = 16_000,
        calibration_temperature: float = 1.0,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self.network = network
        self.num_samples = num_samples
        self.sampling_rate = sampling_rate
        self.calibration_temperature = calibration_temperature


class SerctFeatureExtractor(SequenceFeatureExtractor):
    """Turns recordings into a padded batch, by the rules that hold in SERCT.

    Samples beyond full scale are scaled down, a mean that is larger than the sound is removed, and
    samples are rounded to 16 bits.
    """

    model_input_names = ("input_values", "attention_mask")

    def __init__(
        self,
        feature_size: int = 1,
        sampling_rate: int = 16_000,
        padding_value: float = 0.0,
        do_normalize: bool = False,
        **others: Any,
    ) -> None:
        super().__init__(
            feature_size=feature_size,
            sampling_rate=sampling_rate,
            padding_value=padding_value,
            **others,
        )
        self.do_normalize = do_normalize

    def __call__(
        self,
        raw_speech: Any,
        sampling_rate: int | None = None,
        padding: bool | str = True,
        return_tensors: str | None = None,
        **padding_options: Any,
    ) -> BatchFeature:
        """Return `input_values`, float32 [B, M], and `attention_mask`, int32 [B, M].

        Args:
            raw_speech: One recording, or several: mono, in [-1, 1]. float [any length > 0] each
            sampling_rate: Theirs, in Hz; it must be the model's.
            padding: See `SequenceFeatureExtractor.pad`, as what follows.
            return_tensors: "pt" or "np".
            padding_options: Such as ``max_length`` and ``truncation``; by default nothing is cut.

        Raises:
            ValueError: If a recording is empty, not mono, not of floats, not finite, in another
                unit than full scale = 1, or of another rate.
        """
        if sampling_rate not in (None, self.sampling_rate):
            raise ValueError(
                f"the recordings have {sampling_rate} Hz, expected {self.sampling_rate} Hz, "
                "the rate of the model: resample them first"
            )
        is_one = isinstance(raw_speech, np.ndarray | Tensor) and raw_speech.ndim == 1
        is_one |= isinstance(raw_speech, Sequence) and isinstance(raw_speech[0], int | float)
        recordings = [raw_speech] if is_one else raw_speech
        waveforms = [_prepared(np.asarray(each), n) for n, each in enumerate(recordings)]
        padded: BatchFeature = self.pad(
            BatchFeature({"input_values": waveforms}),
            padding=padding,
            return_tensors=return_tensors,
            **padding_options,
        )
        return padded


def _prepared(waveform: npt.NDArray[Any], place: int) -> Floats:
    """Return a recording as models take it, float32 [N]; ``place`` is its place in the batch."""
    if waveform.ndim != 1 or not len(waveform) or waveform.dtype.kind != "f":
        raise ValueError(
            f"recording {place}: {waveform.dtype} {waveform.shape}, expected floats in [-1, 1] of "
            "shape [N], N > 0: one channel"
        )
    frames, level = waveform.astype(np.float32)[:, None], Level()
    try:
        level.add(frames)
        mixing, _ = level.decide()
    except AudioError as error:
        raise ValueError(f"recording {place}: {error}") from error
    return to_pcm16(mixing.apply(frames)).astype(np.float32) / np.float32(PCM_SCALE)


class SerctForAudioClassification(PreTrainedModel):  # type: ignore[no-untyped-call]
    """A network of SERCT: recordings in, one logit for each emotion out."""

    config_class = SerctConfig
    main_input_name = "input_values"
    base_model_prefix = "network"

    def __init__(self, config: SerctConfig) -> None:
        super().__init__(config)
        params = Architecture.model_validate_json(json.dumps(config.network))
        # Some layers compute with numbers while they are built, which the device "meta" has not.
        with torch.device("cpu"):
            self.network = params.build(
                config.num_samples, config.sampling_rate, len(config.id2label or ())
            )
        # transformers fills buffers that no file holds with whatever lies in memory.
        for module in self.network.modules():
            for name, buffer in list(module.named_buffers(recurse=False)):
                module.register_buffer(name, buffer, persistent=True)
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: nn.Module) -> None:
        """Draw weights that no file holds, such as those of a head for other emotions."""
        reset: Callable[[], None] | None = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **others: Any,
    ) -> SequenceClassifierOutput | tuple[Tensor, ...]:
        """Score recordings.

        Args:
            input_values: In [-1, 1]. float32 [B, M]
            attention_mask: 1 for samples of a recording, 0 behind it; None: there is no padding.
                [B, M]
            labels: For training. int64 [B]
            return_dict: False for a tuple.
            others: Are not used.

        Returns:
            Logits, [B, K], whose softmax is calibrated; and with labels the cross-entropy.
        """
        if attention_mask is None:
            num_valid = torch.full_like(input_values[:, 0], input_values.shape[1]).long()
        else:
            num_valid = attention_mask.sum(dim=1).clamp(min=1)
            input_values = input_values * attention_mask.to(input_values.dtype)
        input_values = input_values[:, : int(num_valid.max())]
        if input_values.shape[1] <= self.config.num_samples:
            logits = self._score(input_values, num_valid)
        else:
            rows = zip(input_values, num_valid.tolist(), strict=True)
            logits = self._score_windows([row[:length] for row, length in rows])
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        if return_dict is False:
            return (logits,) if loss is None else (loss, logits)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _score(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Score recordings that are no longer than a row. [B, M], [B] -> [B, K]."""
        found = self.network(waveforms, num_valid)
        logits: Tensor = found[0] if isinstance(found, tuple) else found
        temperature: float = self.config.calibration_temperature
        return logits / temperature

    def _score_windows(self, recordings: Sequence[Tensor]) -> Tensor:
        """Score recordings of any length by the windows that cover them. B x [...] -> [B, K]."""
        timing = Timing.of_rows(self.config.num_samples)
        plans = [Plan(len(each), self.config.sampling_rate, timing) for each in recordings]
        windows = [
            waveform[start:end]
            for waveform, plan in zip(recordings, plans, strict=True)
            for start, end in plan.windows
        ]
        # Batch norm in training needs them together.
        at_once = len(windows) if self.training else _WINDOWS_AT_ONCE
        found = []
        for first in range(0, len(windows), at_once):
            cut = windows[first : first + at_once]
            num_valid = torch.tensor([len(each) for each in cut]).to(cut[0].device)
            found.append(self._score(nn.utils.rnn.pad_sequence(cut, batch_first=True), num_valid))
        logs = torch.cat(found).log_softmax(dim=1).clamp(min=math.log(SMALLEST))  # [W, K]
        found, first = [], 0
        for plan in plans:
            weights = torch.from_numpy(plan.window_weights).to(logs)
            found.append(weights @ logs[first : first + len(weights)])
            first += len(weights)
        return torch.stack(found)
