#!/usr/bin/env bash
# Build the image `serct` with podman.
#
#   bash deploy/build.sh [--debian] [OPTION OF podman build...]
#
# --debian: make the base of Debian's packages with mmdebstrap, as root, where no registry of images can be
# reached. `--volume FILE:/etc/pip.conf:ro` gives pip another index for the build alone.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = --debian ]; then
  shift
  # Its Python is 3.11, as that of the base in the Containerfile.
  mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates \
    bookworm - http://deb.debian.org/debian | podman import --quiet - localhost/serct-base
  set -- --build-arg BASE=localhost/serct-base "$@"
fi
# In the other format, OCI's, an image has no health check.
podman build --format docker -f deploy/Containerfile -t serct "$@" .
