#!/usr/bin/env bash
# Generates the stubs of the contract into the folder given.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv-protos/bin/python -m grpc_tools.protoc -Iprotos \
  --python_out="$1" --pyi_out="$1" --grpc_python_out="$1" protos/gradserve/v1/*.proto
