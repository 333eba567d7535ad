#!/bin/sh
# Build Prism and fetch Flink with Beam's job server into a folder; existing files stay.
# Needs Go, Maven and Java 17. Run by `make engines`, on Linux.
set -eu
cd "$(dirname "$0")"
engines=$1
beam=$(sed -n 's/^apache-beam==//p' ../../constraints.txt)
flink=$(sed -n 's|.*<flink.minor>\(.*\)</flink.minor>.*|\1|p' pom.xml)
parts=$(sed -n 's|.*<beam.version>\(.*\)</beam.version>.*|\1|p' pom.xml)
mkdir -p "$engines"

if [ ! -x "$engines/prism-$beam" ]; then
    echo "building Prism $beam, which takes some minutes the first time"
    GOBIN="$engines" go install "github.com/apache/beam/sdks/v2/go/cmd/prism@v$beam"
    mv "$engines/prism" "$engines/prism-$beam"
fi

if [ ! -f "$engines/job-server.version" ]; then
    echo "fetching Flink $flink and Beam's job server"
    mvn -q -B -f pom.xml -Dtarget="$engines/build" package
    rm -rf "${engines:?}/lib"
    mv "$engines/build/lib" "$engines/lib"
    name="beam-runners-flink-$flink-job-server"
    if mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
        -Dartifact="org.apache.beam:$name:$beam" -DoutputDirectory="$engines/build" >/dev/null; then
        mv "$engines/build/$name-$beam.jar" "$engines/job-server.jar"
        version=$beam
    else
        echo "$name $beam is not available; using Beam $parts, built from its parts"
        mv "$engines/build/job-server.jar" "$engines/job-server.jar"
        version=$parts
    fi
    rm -rf "$engines/build"
    echo "$version" > "$engines/job-server.version"
fi
