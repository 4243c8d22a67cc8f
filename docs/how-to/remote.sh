#!/usr/bin/env bash
# Two clones of one repository share data, models and the champion through a remote: each command is
# printed before it runs. docs/how-to/remote.md explains the steps.
#
#   bash docs/how-to/remote.sh FOLDER                       # the remote is a folder
#   bash docs/how-to/remote.sh FOLDER s3://BUCKET ENDPOINT  # or a bucket
#
# Needs `python`, `dvc` and `serct` of an environment with the project, and git, but no network.
set -euo pipefail

checkout=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:?usage: bash docs/how-to/remote.sh FOLDER [s3://BUCKET ENDPOINT]}
bucket=${2:-} endpoint=${3:-}
if ! git -C "$checkout" rev-parse --quiet --verify HEAD >/dev/null; then
  echo "error: $checkout is no clone: this needs a commit to start from" >&2
  exit 1
fi
if [ -e "$folder" ] && [ ! -e "$folder/origin.git" ]; then
  echo "error: $folder is there and was not made by this script: choose another folder" >&2
  exit 1
fi
rm -rf "$folder" && mkdir -p "$folder" && folder=$(cd "$folder" && pwd)

# Whoever runs this needs no name in git. In each clone its own code is used.
export GIT_AUTHOR_NAME=demo GIT_AUTHOR_EMAIL=demo@localhost
export GIT_COMMITTER_NAME=demo GIT_COMMITTER_EMAIL=demo@localhost
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=commit.gpgsign GIT_CONFIG_VALUE_0=false
export PYTHONPATH=. DVC_NO_ANALYTICS=1 MLFLOW_DISABLE_TELEMETRY=true SERCT_OFFLINE=1

say() { printf '\n# %s\n' "$*"; }
edit() { # KEY=VALUE...: in params.yaml, as `dvc exp run -S` sets them
  python -c 'import sys; from dvc.utils.hydra import apply_overrides as edit; edit("params.yaml", sys.argv[1:])' "$@"
}
champion() { # FOLDER: the fingerprint of the champion there, which is the same in every registry
  (cd "$1" && serct models --json 2>/dev/null) | python -c \
    'import json, sys; print(*[v["fingerprint"] for v in json.load(sys.stdin) if "champion" in v["aliases"]])'
}
trap '[[ $BASH_COMMAND =~ ^(say|\[) ]] || printf "\$ %s\n" "$BASH_COMMAND"' DEBUG

# -- 1. a repository
say "A team's repository, and a first clone of it"
git init --quiet --bare --initial-branch=main "$folder/origin.git"
git -C "$folder/origin.git" config receive.shallowUpdate true # the checkout may be shallow
git -C "$checkout" push --quiet "$folder/origin.git" HEAD:refs/heads/main
git clone --quiet "$folder/origin.git" "$folder/first"
cd "$folder/first"

say "Small values in params.yaml: synthetic speech, two models"
edit pipeline.corpora='[demo_en]' pipeline.train_corpora='[demo_en]' pipeline.zero_shot_corpora='[]' \
  pipeline.models='[mfcc_svm,functionals_lda]' corpora.demo_en.num_texts=6 audio.num_samples=24000 \
  promotion.min_test_ua=0.3 promotion.margin=0.9 promotion.max_changed=0.5

say "The remote; its address goes into git"
if [ -z "$bucket" ]; then
  # -- 2a. a folder
  dvc remote add --default store "$folder/store"
  # -- 2b. a bucket
else
  dvc remote add --default store "$bucket"
  dvc remote modify store endpointurl "$endpoint"
  # -- 2c.
fi

# -- 3. build, promote, share
say "Build everything, promote a model, share both"
dvc repro --quiet
serct promote mfcc_svm-demo_en --why "the first one"
git add .
git commit --quiet --message "Build two models, promote one"
dvc push
git push --quiet

# -- 4. a second clone
say "A second clone has it all without building anything"
git clone --quiet "$folder/origin.git" "$folder/second"
cd "$folder/second"
dvc pull
dvc status
dvc repro
git status --short
serct sync

# -- 5. change a value
say "Change one value there, compare, promote the new model"
edit models.mfcc_svm.num_coefficients=40
dvc repro --quiet
dvc params diff
dvc metrics diff
fingerprint=$(sed -n 's/^ *"fingerprint": "\(.......\).*/\1/p' data/models/demo_en-mfcc_svm/card.json)
serct promote "$fingerprint" --why "more coefficients"
git add .
git commit --quiet --message "Use more coefficients"
dvc push
git push --quiet

# -- 6. bring it back
say "The first clone gets data, model and champion"
cd "$folder/first"
git pull --quiet
dvc pull
serct sync
dvc status

# -- 7.
say "Both clones have the same champion"
first=$(champion "$folder/first") second=$(champion "$folder/second")
echo "first: $first; second: $second"
test -n "$first" -a "$first" = "$second"
git -C "$folder/first" log --format='%an: %s' -2 -- data/promotions.jsonl
