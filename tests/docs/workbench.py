"""The folder in which the snippets of a page run: a corpus, questions, tiny models."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.models import make_pair_model

#: Id, text, language and year of each document.
DOCUMENTS = (
    ("json.loads", "json.loads parses JSON from a string into Python objects.", "en", 2024),
    ("json.dumps", "json.dumps turns Python objects into a string of JSON.", "en", 2024),
    ("rivers", "A river is water that flows over stone from a spring to the sea.", "en", 2021),
    ("penicillin", "Alexander Fleming discovered penicillin in London in 1928.", "en", 2022),
    ("tides", "The tides follow the moon, which pulls the water twice a day.", "en", 2023),
    ("granite", "Granite is a hard stone of quartz, feldspar and mica.", "en", 2019),
    ("bread", "Bread is baked from flour, water, salt and yeast.", "en", 2020),
    ("violins", "A violin has four strings and is played with a bow.", "en", 2018),
    ("fluss", "Ein Fluss ist Wasser, das zum Meer strömt.", "de", 2021),
    ("bees", "Bees collect nectar from flowers and make honey of it.", "en", 2023),
    ("glaciers", "A glacier is ice that flows slowly down a valley.", "en", 2022),
    ("chess", "Chess is played by two on a board of sixty-four squares.", "en", 2017),
)
#: Id, text, right document and answer of each question.
QUESTIONS = (
    ("q1", "How do I parse JSON from a string?", "json.loads", "json.loads"),
    ("q2", "Who discovered penicillin?", "penicillin", "Alexander Fleming"),
    ("q3", "What do the tides follow?", "tides", "the moon"),
    ("q4", "What is bread made of?", "bread", "flour, water, salt and yeast"),
)


def make_workbench(folder: Path) -> Path:
    """Fill a folder with everything but the store."""
    (folder / "corpus").mkdir(parents=True)
    names = ("id", "text", "lang", "year")
    table = pa.table(dict(zip(names, map(list, zip(*DOCUMENTS, strict=True)), strict=True)))
    half = table.num_rows // 2
    pq.write_table(table.slice(0, half), folder / "corpus" / "first.parquet")
    pq.write_table(table.slice(half), folder / "corpus" / "second.parquet")
    ids, texts, right, answers = zip(*QUESTIONS, strict=True)
    asked = pa.table(
        {
            "question_id": list(ids),
            "question": list(texts),
            "relevant": [[name] for name in right],
            "answers": [[answer] for answer in answers],
        }
    )
    pq.write_table(asked, folder / "questions.parquet")
    years = [year for *_, year in DOCUMENTS]
    ages = ["new" if year > 2020 else "old" for year in years]
    labels = pa.table({"id": [name for name, *_ in DOCUMENTS], "label": ages})
    pq.write_table(labels, folder / "ages.parquet")
    (folder / "questions.jsonl").write_text(
        "".join(f'{{"question": "{text}"}}\n' for text in texts), encoding="utf-8"
    )
    (folder / "bm25.trec").write_text(
        "".join(
            f"{question} Q0 {name} {rank} {10 - rank} bm25\n"
            for question, name in zip(ids, right, strict=True)
            for rank, name in enumerate((name, "granite"), 1)
        ),
        encoding="utf-8",
    )
    make_pair_model(folder / "RANKER", "rank")
    make_pair_model(folder / "READER", "read", labels=2)
    return folder
