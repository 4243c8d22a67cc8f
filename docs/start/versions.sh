#!/usr/bin/env bash
# Versions of data and models with git and DVC: `bash docs/start/versions.sh FOLDER`, in the checkout.
# It needs no recordings and no network. docs/start/versions.md explains it step by step.
set -euo pipefail
checkout=$PWD
mkdir -p "${1:-build/versions}"
cd "${1:-build/versions}"
export SERCT_OFFLINE=1
set -x

# -- 1. build
git clone --quiet "$checkout" mine
cd mine
git config user.email || git config user.email you@example.com
git config user.name || git config user.name you
git switch --quiet --create small
python -m serct.experiments.plot_page
dvc exp run --name small \
  -S 'pipeline.corpora=[demo_en,demo_de]' -S 'pipeline.train_corpora=[demo_en]' \
  -S 'pipeline.zero_shot_corpora=[demo_de]' -S 'pipeline.models=[cnn,mfcc_svm]' \
  -S corpora.demo_en.num_texts=6 -S corpora.demo_de.num_texts=2 \
  -S audio.num_samples=24000 -S train.epochs=3
git add --all
git commit --quiet --message "Two small models of synthetic speech"

# -- 2. share
git init --quiet --bare ../shared.git
git remote add shared ../shared.git
dvc remote add --default storage ../storage
git commit --quiet --message "Where data and models are" .dvc/config
dvc push
git push --quiet shared small

# -- 3. elsewhere
git clone --quiet --branch small ../shared.git ../theirs
cd ../theirs
dvc pull
dvc status
dvc repro
git status --short
cd ../mine

# -- 4. compare
dvc exp run --name wide -S models.cnn.hidden=64
git diff --unified=0 params.yaml
dvc metrics diff --all
dvc plots diff
dvc exp show --only-changed --drop 'Created|.*/' --no-pager

# -- 5. queue
dvc exp run --queue --name soft -S models.mfcc_svm.regularisation=0.1
dvc exp run --run-all
dvc exp show --only-changed --drop 'Created|.*/' --no-pager

# -- 6. keep
dvc exp push shared soft
git checkout --quiet .
dvc exp apply soft
git commit --quiet --all --message "A softer margin"
cd ../theirs
dvc exp pull origin soft
dvc exp list
