"""Peers in processes of their own: the exchange with them, and what happens when one fails."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.bench.options import BenchOptions, Effort
from pipeline.bench.run import run
from pipeline.bench.systems.own_process import FastEmbed, OnnxInt8, OpenVinoInt8, OwnProcess
from pipeline.bench.systems.system import Setup
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model

#: The worker with one more kind of peer, which notes its calls.
WORKER = """
import importlib.util, json, pathlib, sys
spec = importlib.util.spec_from_file_location("peer_worker", {real!r})
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)
def lengths(model, work, threads, texts):
    print("a library prints to standard output")
    assert pathlib.Path(model, "config.json").is_file() and threads >= 1
    def embed(texts, size):
        with open(work / "sizes.txt", "a") as file:
            file.write(f"{{size}} ")
        if "fail" in texts:
            raise ValueError("a text\\nfails")
        if "end" in texts:
            sys.exit()
        return [[len(text), size] for text in texts]
    return embed
worker.KINDS["lengths"] = lengths
worker.main()
"""


class Lengths(OwnProcess):
    """A peer whose vectors are the lengths of the texts."""

    name = "lengths"
    kind, environment = "lengths", "tiny"


@pytest.fixture
def peer(albert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lengths]:
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(real=str(OwnProcess.worker)))
    monkeypatch.setattr(Lengths, "worker", script)
    (tmp_path / "peers" / "tiny" / "bin").mkdir(parents=True)
    python = tmp_path / "peers" / "tiny" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    model = find_model(ModelOptions(str(albert)))
    setup = Setup(model, Placement("cpu"), work, (2, 4), 3, tmp_path / "peers")
    peer = Lengths(setup)
    yield peer
    peer.close()


def test_a_peer_embeds_in_its_process_with_its_fastest_batch_size(peer: Lengths) -> None:
    assert peer.lacking() is None
    peer.prepare(["a", "bb", "ccc", "dddd"])
    assert peer.batch_size in (2, 4)
    assert f"batches of {peer.batch_size}" in peer.note
    assert (peer.setup.work / "lengths" / "sizes.txt").read_text() == "2 2 4 4 "
    vectors = peer.run(["a", "bb"])
    assert vectors is not None
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1, peer.batch_size], [2, peer.batch_size]]


def test_a_failure_is_told_and_the_process_goes_on(peer: Lengths) -> None:
    peer.prepare(["a"])
    with pytest.raises(RuntimeError, match="a text\nfails"):
        peer.run(["fail"])
    vectors = peer.run(["four"])
    assert vectors is not None
    assert vectors[0, 0] == 4
    with pytest.raises(RuntimeError, match="its process ended"):
        peer.run(["end"])


def test_the_process_ends_when_the_peer_is_closed(peer: Lengths) -> None:
    peer.prepare(["a"])
    process = peer._process
    assert process is not None
    assert process.poll() is None
    peer.close()
    assert process.poll() == 0


def test_a_peer_without_its_environment_is_a_row_that_says_so(albert: Path, tmp_path: Path) -> None:
    names = [peer.name for peer in (OpenVinoInt8, OnnxInt8, FastEmbed)]
    effort = Effort(rounds=1, seconds=0.1, fewest=4, most=4, embedded=0.1, batch_sizes=(4,))
    options = BenchOptions(
        effort, (("tiny", "skewed"),), tuple(names), memory=None, store=None,
        peers=tmp_path / "peers", folders={"tiny": str(albert)},
    )  # fmt: skip
    rows = {row["system"]: row for row in run(options)["rows"]}
    assert json.dumps(rows)
    for name in names:
        assert rows[name]["tokens_per_second"] is None
        assert rows[name]["note"].startswith(("no environment", "not installed"))
    assert str(tmp_path / "peers" / "openvino") in rows[OpenVinoInt8.name]["note"]
