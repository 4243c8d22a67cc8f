"""A process that has transformers and no serct: predicts with exports, trains one, saves it anew.

Run as `python -P huggingface_process.py FOLDER...`; prints JSON. Each folder holds `export/` and
`clips.npz`: four to predict, and others that the first model is trained on.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, pipeline
from transformers.utils import logging

logging.disable_progress_bar()


def classify(folder: Path, clips: list[np.ndarray]) -> list[dict[str, float]]:
    """Return the probabilities by emotion of each recording, one by one."""
    found = pipeline("audio-classification", model=str(folder), trust_remote_code=True)
    rate = found.feature_extractor.sampling_rate
    rows = [found({"raw": clip, "sampling_rate": rate}, top_k=None) for clip in clips]
    return [{each["label"]: each["score"] for each in row} for row in rows]


def classify_batch(folder: Path, clips: list[np.ndarray]) -> list[list[float]]:
    """Return the probabilities of all recordings, padded to the longest."""
    model = AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=True)
    extract = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
    with torch.inference_mode():
        logits = model(**extract(clips, return_tensors="pt")).logits
    return logits.double().softmax(dim=1).tolist()


def train(folder: Path, clips: list[np.ndarray], again: Path) -> dict[str, object]:
    """Train all weights a little, and save and load the result."""
    torch.manual_seed(0)
    model = AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=True).train()
    extract = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
    batch = extract(clips, return_tensors="pt")
    labels = torch.arange(len(clips)) % model.config.num_labels
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    losses = []
    for _ in range(8):
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval().save_pretrained(again)
    extract.save_pretrained(again)
    with torch.inference_mode():
        expected = model(**batch).logits.double().softmax(dim=1).tolist()
    return {"losses": losses, "saved": classify_batch(again, clips), "trained": expected}


def main(folders: list[Path]) -> None:
    """Print what the tests compare."""
    found = {}
    for folder in folders:
        with np.load(folder / "clips.npz") as content:
            clips = list(content.values())
        export = folder / "export"
        found[folder.name] = {
            "one": classify(export, clips[:4]),
            "batch": classify_batch(export, clips[:4]),
        }
        if folder == folders[0]:
            found["training"] = train(export, clips[4:], folder / "again")
    heavy = {"serct", "dvc", "mlflow", "librosa", "sklearn", "skops"}
    found["imported"] = sorted(heavy & {name for name, module in sys.modules.items() if module})
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    # Whatever is installed or on the path: no part of this project can be imported.
    sys.modules["serct"] = None  # type: ignore[assignment]
    main([Path(each) for each in sys.argv[1:]])
