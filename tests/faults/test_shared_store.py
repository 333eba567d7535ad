"""Threads and processes share a store; `make faults` tries longer."""

from pathlib import Path

import pytest

from tests.faults import forks, shared_store, threads


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    shared_store.make(folder, 2)
    shared_store.write_expected(folder, 60, seed=0)
    return folder


def test_threads_that_share_a_store_find_what_one_thread_finds(folder: Path) -> None:
    printed = threads.in_process(folder, seed=0, seconds=0, threads=16, turn=3)
    assert printed.count("searches as by one thread") == 2


def test_forked_processes_find_what_their_parent_finds(folder: Path) -> None:
    printed = forks.in_process(folder, seed=0, seconds=0, ways="loading,idle,searching")
    assert "forks while" in printed


@pytest.mark.slow
def test_a_spawned_process_finds_what_the_sender_of_the_store_finds(folder: Path) -> None:
    forks.in_process(folder, seed=0, seconds=0, ways="spawned")
