#!/usr/bin/env bash
# A team's set-up on one machine, from nothing to a champion that another workspace serves:
# PostgreSQL, a bucket (moto's S3 server stands in for one), MLflow's server over both, and two
# workspaces that share data, searches and registry through them. docs/how-to/team.md explains each step.
#
#   bash deploy/team.sh FOLDER [--set KEY=VALUE...]
#
# Needs PostgreSQL and `pip install "serct[app,search,team]" "moto[s3]" flask-cors`.
set -euo pipefail

root=$(mkdir -p "${1:?usage: bash deploy/team.sh FOLDER [--set KEY=VALUE...]}" && cd "$1" && pwd)
shift
# The demo corpora need no download.
settings=(--profile demo --set search.corpus=demo_en --set search.epochs=2 "$@")
database_port=${SERCT_TEAM_DATABASE_PORT:-5433}
bucket_port=${SERCT_TEAM_BUCKET_PORT:-5001}
tracking_port=${SERCT_TEAM_TRACKING_PORT:-5002}
service_port=${SERCT_TEAM_SERVICE_PORT:-8002}
python=${PYTHON:-python}

checkout=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH=$checkout
serct() { "$python" -m serct.cli "$@"; }

# PostgreSQL refuses to run as root.
as_user() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

wait_for() { # NAME COMMAND...
  local name=$1
  shift
  for _ in $(seq 240); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.5
  done
  echo "error: $name does not answer, see $root/*.log" >&2
  exit 1
}
answers() { "$python" -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=3)' "$1"; }

stop() {
  trap - EXIT
  # shellcheck disable=SC2046
  kill $(jobs -p) 2>/dev/null || true
  wait || true
  as_user "$postgres/pg_ctl" -D "$root/database" -m fast stop >/dev/null 2>&1 || true
}

echo "1. PostgreSQL"
initdb=$(command -v initdb || find /usr/lib/postgresql -name initdb | sort --version-sort | tail -n 1)
postgres=$(dirname "$(readlink -f "$initdb")")
mkdir -p "$root/database"
if [ "$(id -u)" = 0 ]; then chown postgres "$root/database"; fi
trap stop EXIT
as_user "$postgres/initdb" -D "$root/database" --username serct --auth trust >"$root/initdb.log"
as_user "$postgres/pg_ctl" -D "$root/database" -l "$root/database/server.log" -w start \
  -o "-p $database_port -h 127.0.0.1 -k $root/database" >/dev/null
database=postgresql+psycopg2://serct@127.0.0.1:$database_port
for name in mlflow search; do
  "$postgres/createdb" --host 127.0.0.1 --port "$database_port" --username serct "$name"
done

echo "2. A bucket"
export AWS_ACCESS_KEY_ID=team AWS_SECRET_ACCESS_KEY=team AWS_DEFAULT_REGION=us-east-1
export AWS_ENDPOINT_URL=http://127.0.0.1:$bucket_port
"$python" -m moto.server --host 127.0.0.1 --port "$bucket_port" >"$root/bucket.log" 2>&1 &
wait_for "the bucket" answers "$AWS_ENDPOINT_URL/moto-api/"
"$python" -c 'import boto3; boto3.client("s3").create_bucket(Bucket="serct")'

echo "3. MLflow's server: runs and registry in PostgreSQL, models in the bucket"
MLFLOW_S3_ENDPOINT_URL=$AWS_ENDPOINT_URL MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
  "$python" -m mlflow server --backend-store-uri "$database/mlflow" \
  --artifacts-destination s3://serct/mlflow --host 127.0.0.1 --port "$tracking_port" --workers 1 \
  >"$root/mlflow.log" 2>&1 &
export MLFLOW_TRACKING_URI=http://127.0.0.1:$tracking_port
wait_for "MLflow's server" answers "$MLFLOW_TRACKING_URI/health"
export SERCT_SEARCH_STORAGE=$database/search

echo "4. The first workspace trains and pushes its data"
serct repro "${settings[@]}" --workspace "$root/first"
(
  cd "$root/first"
  "$python" -m dvc remote add --quiet --default store s3://serct/dvc
  "$python" -m dvc remote modify --quiet store endpointurl "$AWS_ENDPOINT_URL"
  "$python" -m dvc push --quiet
)
serct promote 1 --workspace "$root/first" --why "the first one"

echo "5. The second workspace gets what git would carry, and pulls the data"
mkdir -p "$root/second"
tar -C "$root/first" --exclude ./data --exclude ./.dvc/cache --exclude ./.dvc/tmp -cf - . |
  tar -C "$root/second" -xf -
(cd "$root/second" && "$python" -m dvc pull --quiet && "$python" -m dvc status)
serct doctor --workspace "$root/second"

echo "6. Both take part in one search"
for each in first second; do
  serct search --trials 4 "${settings[@]}" --workspace "$root/$each" >"$root/search-$each.log" 2>&1 &
  searching+=($!)
done
for each in "${searching[@]}"; do wait "$each"; done
tail -n 2 "$root"/search-*.log

echo "7. The second workspace serves the champion that the first one promoted"
# Not through the function: killing that would leave the service behind.
"$python" -m serct.cli serve --workspace "$root/second" --port "$service_port" >"$root/service.log" 2>&1 &
wait_for "the service" answers "http://127.0.0.1:$service_port/ready"
clip=$(find "$root/second/data/raw/" -name '*.wav' | sort | sed -n 1p)  # reads all: no broken pipe
"$python" - "http://127.0.0.1:$service_port/v1/predict" "$clip" <<'PYTHON' | tee "$root/answer.json"
import sys
import requests
address, clip = sys.argv[1:]
with open(clip, "rb") as file:
    answer = requests.post(address, files={"files": file}, timeout=60)
answer.raise_for_status()
print(answer.text)
PYTHON
