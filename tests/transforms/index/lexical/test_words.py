"""A word that stands in a text finds it, in any spelling, in each language."""

import time
from pathlib import Path

import pytest

from tests.faults.words import unfound
from tests.support.spellings import random_words, spellings, without_accents
from tests.support.stores import add_segment
from transforms.catalog.options import LANGUAGES
from transforms.index.lexical.analyzer import Analyzer
from transforms.search.store import Store

#: By language, words that stemmers cut otherwise if their accents are gone.
WORDS = {
    "english": "résumé Beyoncé Nestlé naïvely Brontë İstanbul façades Zoë Ångström Łódź Dvořák",
    "portuguese": "nação ações difíceis avó órgãos açúcares informação português corações",
    "romanian": "învățământului țărilor întâmplări copiilor românească mâncării știință",
    "french": "élèves forêts naïveté Noël français répétées châteaux œuvre garçons où",
    "italian": "città perché università caffè libertà qualità lunedì",
    "spanish": "canción canciones corazón niños árbol inglés habían pingüinos",
    "german": "Häuser Straße fließen Müller Bäume Größenänderung schönste Übung",
    "dutch": "coördinatie ideeën café één geërgerd",
    "swedish": "människorna älskade Göteborg självständighet ålderdomshem",
    "danish": "smørrebrød ålborg kærlighed bøgerne København",
    "norwegian": "brødrene språkene kjærlighet sjøen været",
    "finnish": "metsässä käytetään yhdistyksissä äidinkieltä öljyä",
    "hungarian": "gyerekeknek házában könyvek örömök tűzoltók szépség",
    "turkish": "kitapları ısıtma çalışıyorum İzmir'de öğretmenlerin IŞIK güneşli",
    "russian": "ёлка новый московского за́мок Йогурт объявление щётки",
    "greek": "ανθρώπους λόγος Ελλάδας πολιτεία ᾠδή μαΐου",
    "arabic": "الكِتَابُ أَحْمَد مدرسة مــدرسة إسلامية سؤال",
    "tamil": "தமிழ் நூல்கள் வந்தார்கள்",
    "none": "hiện nghiệp Việt שָׁלוֹם हिन्दी क़लम ქართული ᏣᎳᎩ ꮳꮃꭹ ՀԱՅԵՐԵՆ",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_spelling_of_a_word_finds_it(language: str) -> None:
    words = [*WORDS[language].split(), *random_words(LANGUAGES.index(language), 300)]
    assert list(unfound(Analyzer(language), words)) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_store_finds_each_spelling(language: str, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    texts = {f"{word} {place}": word for place, word in enumerate(WORDS[language].split())}
    add_segment(store, "s", dict.fromkeys(texts, 1), language=language)
    opened = Store.open(store)
    for text, word in texts.items():
        questions = list(dict.fromkeys(spellings(word)))
        for question, hits in zip(questions, opened.search(questions, 9, "lexical"), strict=True):
            assert text in [hit.document_id for hit in hits], question


#: A text, then questions that find it.
FOUND = [
    # Case, and what only some languages fold.
    ("She sent her résumé.", "resume resumes Résumé RESUME"),
    ("İstanbul has bridges.", "istanbul ISTANBUL İSTANBUL ıstanbul"),
    ("Σίσυφος", "σίσυφος ΣΙΣΥΦΟΣ σισυφοσ"),
    ("Straße STRASSE", "straße STRAẞE strasse"),
    # Width, ligatures, superscripts, digits of other scripts.
    ("ｆｕｌｌ ﬁnd H₂O x² ①", "full FULL find h2o x2 1"),
    ("٣٤ १२ ๑๐", "34 12 10 ٣٤"),
    ("ｶﾞﾗｽ", "ガラス ｶﾞﾗｽ"),
    # Points, marks and letters of other scripts.
    ("שָׁלוֹם וּבְרָכָה", "שלום וברכה שָׁלוֹם"),
    ("السَّلَامُ عَلَيْكُم مدرســـة", "السلام عليكم مدرسة مدرسه"),
    ("ایران كتاب", "ايران کتاب ایران"),
    ("हिन्दी क़लम चाँद", "हिंदी हिन्दी कलम चांद क़लम"),
    ("Đặng Thái Sơn", "Dang Thai Son ĐẶNG Đặng"),
    ("за́мок, ёлка", "замок елка ЁЛКА"),
    # What nobody sees.
    ("soft\u00adhyphen zero\u200bwidth join\u2060er \ufeffbom bi\u200edi", "softhyphen zerowidth"),
    ("soft\u00adhyphen zero\u200bwidth join\u2060er \ufeffbom bi\u200edi", "joiner bom bidi width"),
    ("می‌خواهم", "میخواهم خواهم می‌خواهم"),
    ("क\u094d\u200dष", "क\u094dष"),
    ("I ❤️ it 👩‍💻", "❤ ❤️ 👩‍💻 👩 💻"),
    # Apostrophes and hyphens.
    ("Don’t ask O’Brien of Hawaiʻi", "don't dont O'Brien obrien Hawai'i hawaii brien"),
    ("Peter's e-mail, l'avion", "peter Peter’s email e-mail e‑mail mail avion l’avion"),
    ("U.S.A. and Wi-Fi", "USA u.s.a. wifi WI-FI"),
    ("צה״ל", 'צהל צה"ל צה״ל'),
    ("col·lecció", "col·lecció colleccio"),
    # Code.
    ("parseHTTPResponse of getUserName", "parse http response parseHTTPResponse user"),
    ("parseHTTPResponse of getUserName", "parsehttpresponse PARSEHTTPRESPONSE parse_http_response"),
    ("max_value __init__ XMLParser", "max value max_value maxValue init parser MAX_VALUE"),
    ("C++ and C# on .NET", "c++ C# .NET net c"),
    ("ERR_1234, 0x80070005 and E-1001", "err_1234 ERR 1234 0X80070005 E-1001 E1001 1001"),
    ("version 1.2.3 and v2.0", "1.2.3 v2.0 2.0 3"),
    ("john.doe@example.com", "john.doe@example.com JOHN.DOE@EXAMPLE.COM example.com doe example"),
    ("see https://example.com/a/b?c=d", "https://example.com/a/b?c=d example.com example"),
    (r"/usr/local/bin C:\Users\me", r"/usr/local/bin usr/local/bin local C:\Users\me users"),
    ("1,000,000 people", "1000000 1,000,000"),
    # Words of any length.
    ("Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz", "rindfleisch" + (
        "etikettierungsuberwachungsaufgabenubertragungsgesetz")),
    ("a" * 70_000 + " é" + "b" * 300, "A" * 70_000 + " e" + "B" * 300),
    ("dGVzdA" * 50 + "==", "dGVzdA" * 50),
]  # fmt: skip


@pytest.mark.parametrize("language", ["english", "none", "german", "french"])
def test_a_question_finds_what_a_user_expects(language: str, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "s", dict.fromkeys((text for text, _ in FOUND), 1), language=language)
    opened = Store.open(store)
    for text, asked in FOUND:
        questions = asked.split()
        if language != "english":
            # A plural needs the stemmer of its language.
            questions = [each for each in questions if each != "resumes"]
        for question, hits in zip(questions, opened.search(questions, 50, "lexical"), strict=True):
            assert text in [hit.document_id for hit in hits], question[:80]


@pytest.mark.parametrize(
    ("language", "text", "question"),
    [
        ("german", "Herr Müller", "Mueller"),
        ("german", "Goethe", "Göthe"),
        ("danish", "Aarhus", "Århus"),
        ("danish", "Søren Kierkegård", "Soeren Kierkegaard"),
        ("norwegian", "Ålesund", "Aalesund"),
        ("swedish", "Malmö", "Malmoe"),
        ("turkish", "ISPARTA", "ısparta"),
        ("portuguese", "as ações", "acoes"),
        ("spanish", "las canciones", "cancion"),
        ("french", "les élèves", "eleve"),
        ("greek", "ανθρώπους", "ΑΝΘΡΩΠΟΣ"),
        ("russian", "московского", "московский"),
    ],
)
def test_a_language_has_spellings_of_its_own(language: str, text: str, question: str) -> None:
    analyzer = Analyzer(language)
    held = set(analyzer.terms(text))
    for word in analyzer.words(question):
        assert held & word.all_terms()


def test_signs_rank_a_text_that_has_them_first(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    texts = [
        "C is old",
        "C++ is big",
        "C# is sharp",
        "the net",
        "the .NET",
        "1 2 3",
        "1.2.3 is out",
    ]
    add_segment(store, "s", dict.fromkeys(texts, 1), language="english")
    for question, best in (("C++", 1), ("c#", 2), (".net", 4), ("1.2.3", 6)):
        hits = Store.open(store).search([question], 3, "lexical")[0]
        assert hits[0].document_id == texts[best]


def test_a_compound_counts_as_its_parts_where_a_text_has_them() -> None:
    analyzer = Analyzer("english")
    [word] = analyzer.words("e-mail")
    assert word.terms == ("email",)
    assert word.parts == (("e",), ("mail",))
    # A length that grew more would cost the text a part of its score.
    assert sorted(analyzer.terms("e-mail")) == ["e", "email", "mail"]
    assert analyzer.terms("Peter's") == ["peter", "s"]
    assert analyzer.terms("we'll") == ["we", "ll"]
    assert analyzer.terms("1990-1995") == ["1990", "1995"]
    assert Analyzer("french").terms("l'avion") == ["l", "avion"]
    assert analyzer.terms("PDFs and URLs, MRI") == ["pdfs", "and", "url", "mri"]


def test_an_accent_that_the_stemmer_needs_makes_a_second_term() -> None:
    portuguese = Analyzer("portuguese")
    assert portuguese.terms("casa") == ["cas"]
    [accented] = portuguese.words("informações")
    [other] = portuguese.words("informação")
    [plain] = portuguese.words("informacoes")
    assert len(accented.terms) == 2
    # The first joins the forms of a word; the second is that of the plain spelling.
    assert accented.terms[0] == other.terms[0]
    assert plain.terms[0] in accented.terms


def test_terms_do_not_depend_on_what_was_analyzed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    words = list(random_words(3, 200))
    expected = [Analyzer("french").terms(word) for word in words]
    monkeypatch.setattr("transforms.index.lexical.analyzer._KEPT_TEXTS", 7)
    analyzer = Analyzer("french")
    for _ in range(2):
        assert [analyzer.terms(word) for word in words] == expected


def test_the_time_of_a_long_word_grows_with_its_length_alone() -> None:
    analyzer = Analyzer("english")
    for piece in ("a", "é", "a-b/", "aB3/x+Yz9Q", "1,000,", "a.", "_", "漢", "a\u0301", 'א"'):
        text = "a" + piece * (200_000 // len(piece)) + "="
        started = time.process_time()
        assert analyzer.terms(text)
        # One that tries each end for each beginning takes minutes.
        assert time.process_time() - started < 10


def test_without_accents_is_what_it_says() -> None:
    assert without_accents("Éçñ ё") == "Ecn е"
