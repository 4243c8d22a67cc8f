"""Tiny encoders with random weights, as folders that the Hugging Face hub would have."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperModel,
)

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [8, 8],
    "conv_kernel": [10, 8],
    "conv_stride": [5, 8],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "hidden_dropout": 0.1,
    "mask_time_prob": 0.0,
    "layerdrop": 0.0,
}
FAMILY = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model),
    "hubert": (HubertConfig, HubertModel),
    "wavlm": (WavLMConfig, WavLMModel),
}
KINDS = ("whisper", *FAMILY)


def write_encoder(folder: Path, kind: str = "whisper", norm: str = "layer") -> Path:
    """Write an encoder of a kind, and for Whisper a decoder too, as its authors do."""
    torch.manual_seed(0)
    if kind == "whisper":
        config = WhisperConfig(
            d_model=16, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=16,
            decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=16, num_mel_bins=80,
            vocab_size=8, max_target_positions=8, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            decoder_start_token_id=1, suppress_tokens=None, begin_suppress_tokens=None,
        )  # fmt: skip
        folder.mkdir(parents=True)
        config.save_pretrained(folder)
        weights = {f"model.{k}": v for k, v in WhisperModel(config).state_dict().items()}
        save_file(weights, folder / "model.safetensors")
        return folder
    config_class, model_class = FAMILY[kind]
    config = config_class(
        **TINY, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer", conv_bias=False
    )
    model_class(config).save_pretrained(folder)
    return folder
