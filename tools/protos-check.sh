#!/usr/bin/env bash
# Fails where the committed stubs are not those of the committed contract.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
tools/protos.sh "$fresh"
for stub in "$fresh"/gradserve/v1/*; do
  diff -u "client/gradserve/v1/$(basename "$stub")" "$stub" || { echo "stale stubs: run make protos" >&2; exit 1; }
done
for stub in client/gradserve/v1/*_pb2*; do
  [ -e "$fresh/gradserve/v1/$(basename "$stub")" ] || { echo "$stub belongs to no contract" >&2; exit 1; }
done
