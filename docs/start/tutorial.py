"""From speech to a served model in one script: `python docs/start/tutorial.py FOLDER`.

It needs no recordings and no GPU. `docs/start/tutorial.md` explains it step by step.
"""

import subprocess
import sys
from pathlib import Path

import mlflow

from serct import Predictor
from serct.evaluation.records import Confusion
from serct.models.records import read_history
from serct.reports.plots import confusion_figure, curves_figure

workspace = Path(sys.argv[1] if len(sys.argv) > 1 else "build/tutorial").resolve()
data = workspace / "data"


def serct(*arguments: str) -> int:
    """Run a command in the workspace and return its exit code."""
    command = [sys.executable, "-m", "serct.cli", *arguments]
    return subprocess.run([*command, "--workspace", str(workspace)]).returncode


# -- 1. speech and two models
settings = [
    'pipeline.corpora=["demo_en", "demo_de"]',
    'pipeline.zero_shot_corpora=["demo_de"]',
    'pipeline.models=["cnn", "mfcc_svm"]',
    "corpora.demo_en.num_texts=6",
    "corpora.demo_de.num_texts=2",
    "audio.num_samples=24000",
    "train.epochs=4",
]
options = [f"--set={setting}" for setting in settings]
if code := serct("repro", "--profile", "demo", *options):
    sys.exit(code)

# -- 2. compare
mlflow.set_tracking_uri(f"sqlite:///{workspace / 'mlflow.db'}")
runs = mlflow.search_runs(experiment_names=["serct"])
columns = {
    "tags.serct.model": "model",
    "metrics.test_ua": "test_ua",
    "metrics.zero_shot_demo_de_ua": "zero_shot_ua",
}
compared = runs.rename(columns=columns)[["run_id", *columns.values()]]
print(compared.sort_values("test_ua", ascending=False).to_string(index=False))

# -- 3. plot
history = read_history(data / "models" / "demo_en-cnn")
figure = curves_figure({"cnn": history}, "Training of cnn")
figure.savefig(workspace / "curves.png")

path = data / "reports" / "evaluate" / "demo_en-mfcc_svm" / "confusion.json"
confusion = Confusion.read(path)
title = "mfcc_svm, test part of demo_en"
figure = confusion_figure(confusion.labels, confusion.counts, title)
figure.savefig(workspace / "confusion.png")

# -- 4. promote
versions = {
    version.run_id: str(version.version)
    for version in mlflow.MlflowClient().search_model_versions("name = 'serct'")
}
for row in compared.itertuples():
    code = serct("promote", versions[row.run_id], "--why", "the tutorial")
    print(f"{row.model}: {'promoted' if code == 0 else 'not promoted'}")

# -- 5. predict
champion = mlflow.MlflowClient().get_model_version_by_alias("serct", "champion")
model = mlflow.get_run(champion.run_id).data.tags["serct.model"]
predictor = Predictor.load(data / "models" / f"demo_en-{model}")
sound = next((data / "raw" / "demo_de").rglob("*angry.wav"))
probabilities = predictor.predict_file(sound)
print(f"{sound.name} by {model}: {predictor.decide(probabilities)}")
for emotion, probability in sorted(probabilities.items(), key=lambda item: -item[1]):
    print(f"  {probability:.2f} {emotion}")
