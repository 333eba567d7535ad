#!/bin/sh
# Fetch a Kafka broker and Beam's Kafka reader, 160 MB of jars, into a folder; existing files stay.
# Needs Maven and Java 17. Run by `make kafka`, on Linux.
set -eu
cd "$(dirname "$0")"
kafka=$1/kafka
if [ ! -d "$kafka" ]; then
    echo "fetching Kafka and Beam's Kafka reader"
    mkdir -p "$1"
    build=$(mktemp -d "$1/kafka-XXXXXX")
    mvn -q -B -f pom.xml -Dtarget="$build" package
    mv "$build/lib" "$kafka"
    rm -rf "$build"
fi
