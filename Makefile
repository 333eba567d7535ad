# Every chore has one way: `make help` lists them. Only Python, git and make need to be there.
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= cpu
BIN := $(VENV)/bin
export ALBEAM_ENGINES ?= $(HOME)/.cache/albeam/engines

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-engines engines kafka images servers lint docs docs-check bench bench-peers bench-answers bench-tasks bench-reader bench-reranker bench-index bench-hybrid bench-serve bench-bundles gpu reference faults fuzz model reader clean

help: ## list the chores
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(BIN)/.installed ## embed Python's own documentation and ask it questions
	$(BIN)/albeam demo

test: $(BIN)/.installed ## run all tests but the slow ones and those on Prism, Flink and Kafka
	test -z "$(CI)" || $(MAKE) servers
	$(BIN)/pytest -m "not engines and not slow"

test-slow: $(BIN)/.installed ## run the slow tests: kills, histories, real corpora, worker processes
	ALBEAM_PLAIN_BEAM=1 $(BIN)/pytest -m "slow and not engines" --dist load

engines: ## build Prism and fetch Flink: Go, Maven and Java 17, minutes the first time
	deploy/engines/fetch.sh $(ALBEAM_ENGINES)

kafka: ## fetch a Kafka broker and Beam's reader of it: Maven and Java 17, 160 MB
	deploy/kafka/fetch.sh $(ALBEAM_ENGINES)

test-engines: $(BIN)/.installed ## run the tests on Prism, Flink, Kafka; without CI, a missing one skips
	$(MAKE) engines kafka || test -z "$(CI)"
	$(BIN)/pytest -m engines --numprocesses 0

lint: $(BIN)/.installed docs-check ## check style, types and the pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(BIN)/.installed ## generate the references of commands and of --json
	$(BIN)/python -m deploy.docs.generate

docs-check: $(BIN)/.installed ## check links, names and code blocks of README and docs; tests run the blocks
	$(BIN)/python -m deploy.docs.check

images: $(BIN)/.installed ## check that the packages of the images fit together, by PyPI
	for extra in cpu gpu; do $(BIN)/uv pip compile --quiet --no-header --python-version 3.11 \
		--python-platform x86_64-manylinux_2_36 --constraint constraints.txt \
		--constraint deploy/constraints.txt --extra $$extra --extra s3 --extra dataflow \
		--no-annotate --output-file /dev/null setup.py || exit 1; done

servers: ## build the object stores that tests start, with Go, a few minutes
	deploy/servers/fetch.sh $(ALBEAM_ENGINES)

bench: $(BIN)/.installed ## measure tokens per second of albeam and other systems: QUICK=1 in ten minutes
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt \
		--editable '.[$(EXTRAS),bench]'
	$(BIN)/albeam bench $(if $(QUICK),--quick) --json bench.json

bench-peers: $(BIN)/.installed ## make the environments of those systems that need other versions, in .venv-peers: gigabytes, minutes
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt \
		--editable '.[$(EXTRAS),bench]'
	$(BIN)/python -m deploy.bench.peer_environments

bench-answers: $(BIN)/.installed ## find and answer the questions of real corpora, beside other systems; a second call goes on: MINILM=FOLDER E5=FOLDER QUESTIONS=N ALBEAM_DATA=FOLDER
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[train]'
	$(BIN)/python -m deploy.bench.answers --work checkpoints/bench-answers $(if $(MINILM),--minilm $(MINILM)) \
		$(if $(E5),--e5 $(E5)) $(if $(QUESTIONS),--questions $(QUESTIONS)) --json bench-answers.json

bench-hybrid: $(BIN)/.installed ## search a million passages in each mode, one question at a time: ROWS=N
	$(BIN)/python -m deploy.bench.search_latency --rows $(or $(ROWS),1000000) --json bench-hybrid.json

bench-serve: $(BIN)/.installed ## load albeam serve, also with a million passages, and by turns with sentence-transformers: ONLY="PART…" SOAK=MINUTES SECONDS=N ALBEAM_DATA=FOLDER
	$(BIN)/python -m deploy.bench.serve --seconds $(or $(SECONDS),30) --soak $(or $(SOAK),0) \
		$(if $(ONLY),--only $(ONLY)) --json bench-serve.json

bench-bundles: $(BIN)/.installed ## write bundles of the demo's store, and ask them as new processes and in Chromium
	$(if $(wildcard demo-store),,$(BIN)/albeam demo)
	$(BIN)/python -m deploy.bench.bundles demo-store --json bench-bundles.json

bench-tasks: $(BIN)/.installed ## train and measure each task on real data, hours, beside transformers; a second call continues: QUICK=1 ONLY="NAME…" ALBEAM_DATA=FOLDER
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt 'accelerate>=1.1'
	$(BIN)/python -m deploy.bench.all_tasks --work checkpoints/bench-tasks $(if $(QUICK),--quick) \
		$(if $(ONLY),--only $(ONLY)) --json bench-tasks.json

bench-reader: $(BIN)/.installed ## train a reader on SQuAD for forty minutes, and measure it; a second call continues: MINUTES=N ALBEAM_DATA=FOLDER
	$(BIN)/python -m deploy.bench.reader --work checkpoints/bench-reader --minutes $(or $(MINUTES),40) \
		--json bench-reader.json

bench-reranker: $(BIN)/.installed ## train a reranker on SQuAD for twenty minutes, and measure it; a second call continues: MINUTES=N ALBEAM_DATA=FOLDER
	$(BIN)/python -m deploy.bench.reranker --work checkpoints/bench-reranker --minutes $(or $(MINUTES),20) \
		--json bench-reranker.json

bench-index: $(BIN)/.installed ## build indexes, also with plain FAISS, and of real texts: ROWS=N THEN=N ALBEAM_DATA=FOLDER
	$(BIN)/python -m deploy.bench.index_build --rows $(or $(ROWS),1000000) \
		$(if $(THEN),--then $(THEN)) --json bench-index.json
	$(if $(ALBEAM_DATA),$(BIN)/python -m deploy.bench.index_recall --data $(ALBEAM_DATA) --json bench-real.json)

gpu: ## check and measure on a GPU, at most ten minutes: needs CUDA, torch, transformers, pyarrow alone
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m deploy.bench.gpu --output gpu.json

reference: $(BIN)/.installed ## compare a whole real corpus with plain transformers and brute force
	$(BIN)/python -m tests.faults.reference

faults: $(BIN)/.installed ## kill commands at random moments, run several writers, share a store, ask for all words, change inputs: SEED=1, minutes
	$(BIN)/python -m tests.faults.kills --seed $(or $(SEED),0)
	$(BIN)/python -m tests.faults.writers --seed $(or $(SEED),0)
	$(BIN)/python -m tests.faults.threads --seed $(or $(SEED),0)
	$(BIN)/python -m tests.faults.forks --seed $(or $(SEED),0)
	$(BIN)/python -m tests.faults.words --seed $(or $(SEED),0)
	$(BIN)/python -m tests.faults.fuzz_inputs --seed $(or $(SEED),0)

fuzz: $(BIN)/.installed ## change stores, indexes, models and inputs at random, by accident and on purpose; make conditions: SEED=1 COUNT=1000
	$(BIN)/python -m tests.faults.fuzz_stores --seed $(or $(SEED),0) --count $(or $(COUNT),1000)
	$(BIN)/python -m tests.faults.fuzz_writers --seed $(or $(SEED),0) --count $(or $(COUNT),1000)
	$(BIN)/python -m tests.faults.fuzz_indexes --seed $(or $(SEED),0) --count $(or $(COUNT),1000)
	$(BIN)/python -m tests.faults.fuzz_models --seed $(or $(SEED),0) --count $(or $(COUNT),1000)
	$(BIN)/python -m tests.faults.fuzz_decoders --seed $(or $(SEED),0) --count $(or $(COUNT),1000)
	if $(BIN)/uv pip install --quiet --python $(BIN)/python atheris; then \
		$(BIN)/python -m tests.faults.fuzz_decoders --guided $(or $(SECONDS),120); fi
	$(BIN)/python -m tests.faults.fuzz_conditions --seed $(or $(SEED),0) --count $(or $(COUNT),1000)
	$(BIN)/python -m tests.faults.fuzz_inputs --seed $(or $(SEED),0)

model: $(BIN)/.installed ## train the default model again: DATA=folder of corpora, hours
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[train]'
	PYTHON=$(BIN)/python deploy/model/recipe.sh

reader: $(BIN)/.installed ## train albeam-reader again: DATA=folder of corpora, hours
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[train]'
	PYTHON=$(BIN)/python deploy/model/reader.sh

clean: ## remove what the chores made
	rm -rf $(VENV) demo-store demo-corpus bench.json .pytest_cache .mypy_cache .ruff_cache

# uv installs in a fraction of pip's time; it comes into the environment like any other package.
$(BIN)/.installed: setup.py constraints.txt
	@echo "installing into $(VENV): some gigabytes, a few minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode \
		--constraint constraints.txt --editable '.[$(EXTRAS),tasks,serve,onnx,openvino,bundle,dev]'
	touch $@
