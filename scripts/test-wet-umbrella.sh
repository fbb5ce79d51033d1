#!/usr/bin/env bash
# All live tests over this machine's models: those that may share a process in one, then every other group in its own.
# Options go to each pytest: scripts/test-wet-umbrella.sh --report-output live.jsonl
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

status=0
for marks in wet live_vision_pipe live_lifecycle live_pull live_clone; do
  echo "== pytest -m $marks $*"
  "${PYTHON:-python}" -m pytest -m "$marks" tests_2.0 "$@" || status=1
done
exit "$status"
