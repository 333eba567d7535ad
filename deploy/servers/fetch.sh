#!/bin/sh
# Builds the object stores that the tests start, into $ALBEAM_ENGINES/bin: an S3 server with
# conditional writes and a Google Cloud Storage emulator. Wants Go 1.26; a few minutes once.
# Run on 2026-11-22 with Go 1.26.8.
set -eu
GOBIN=${ALBEAM_ENGINES:-$HOME/.cache/albeam-engines}/bin
export GOBIN
mkdir -p "$GOBIN"
command -v go >/dev/null || { echo "no go: install Go 1.26, for example from golang.org/dl" >&2; exit 1; }
[ -x "$GOBIN/versitygw" ] || go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
[ -x "$GOBIN/fake-gcs-server" ] || go install github.com/fsouza/fake-gcs-server@v1.56.1
echo "$GOBIN"
