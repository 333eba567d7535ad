#!/bin/sh
# Build the object stores of the tests into a folder: an S3 server with conditional writes and a
# Google Cloud Storage emulator. Existing files stay. Needs Go 1.26; takes minutes the first time.
# Run by `make servers`, on Linux.
set -eu
GOBIN=$1
export GOBIN
mkdir -p "$GOBIN"
[ -x "$GOBIN/versitygw" ] || go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
[ -x "$GOBIN/fake-gcs-server" ] || go install github.com/fsouza/fake-gcs-server@v1.56.1
