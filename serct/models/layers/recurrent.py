"""An LSTM over steps of which some are padding, in a form that exporters to ONNX take too.

Shapes: B batch, T steps, C channels, U units, G = 4 U.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

# torch's gates are input, forget, cell, output; ONNX' are input, output, forget, cell.
_GATES = (0, 3, 1, 2)


def read_steps(lstm: nn.LSTM, steps: Tensor, num_valid: Tensor) -> Tensor:
    """Compute the states of each step, of both directions if there are two; 0 in padding.

    Args:
        lstm: With ``batch_first``.
        steps: [B, T, C]
        num_valid: Steps that are not padding, at least 1. int64 [B]

    Returns:
        [B, T, U] or [B, T, 2 U]
    """
    if torch.compiler.is_exporting():
        return _read_in_onnx(lstm, steps, num_valid)
    if lstm.bidirectional:
        # Packed, since otherwise the backward direction would start in the padding.
        packed = pack_padded_sequence(
            steps, num_valid.cpu(), batch_first=True, enforce_sorted=False
        )
        return pad_packed_sequence(lstm(packed)[0], batch_first=True)[0]
    # No packing needed: in one direction, padding comes after all that is read.
    states: Tensor = lstm(steps)[0]
    places = torch.arange(states.shape[1], device=states.device)
    return states * (places < num_valid[:, None])[..., None]


def _read_in_onnx(lstm: nn.LSTM, steps: Tensor, num_valid: Tensor) -> Tensor:
    """Compute the same with ONNX' own operator, which takes lengths.

    `torch.export` would run torch's step by step, several times, for minutes.
    """
    num_directions = 2 if lstm.bidirectional else 1
    states = steps.transpose(0, 1)  # [T, B, C]
    lengths = num_valid.to(torch.int32)
    for layer in range(lstm.num_layers):
        weights = [
            [_in_onnx_order(getattr(lstm, f"{name}_l{layer}{suffix}")) for name in _WEIGHTS]
            for suffix in ("", "_reverse")[:num_directions]
        ]
        inputs, recurrent, first_bias, second_bias = (
            torch.stack(each) for each in zip(*weights, strict=True)
        )
        found = torch.onnx.ops.symbolic(
            "LSTM",
            (states, inputs, recurrent, torch.cat((first_bias, second_bias), dim=1), lengths),
            {
                "hidden_size": lstm.hidden_size,
                "direction": "bidirectional" if lstm.bidirectional else "forward",
            },
            dtype=states.dtype,
            shape=(states.shape[0], num_directions, states.shape[1], lstm.hidden_size),
            version=14,
        )
        states = found.transpose(1, 2).flatten(2)  # [T, B, directions * U]
    return states.transpose(0, 1)


_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _in_onnx_order(weight: Tensor) -> Tensor:
    """Reorder the gates of one weight. [G, ...] -> [G, ...]."""
    size = len(weight) // 4
    return torch.cat([weight[gate * size : (gate + 1) * size] for gate in _GATES])
