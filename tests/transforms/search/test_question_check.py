"""Questions that the model reads only in part are counted, and the first of each kind is named."""

import pytest

from tests.support.models import make_tokenizer
from tests.support.stores import make_identity
from transforms.models.tokenizer import Tokenizer
from transforms.search.question_check import QuestionCheck, check_questions

LONG = "river " * 70


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    fast = make_tokenizer()
    return Tokenizer(fast.backend_tokenizer, fast.unk_token_id)


def test_questions_are_counted_and_named(tokenizer: Tokenizer) -> None:
    questions = ["river", LONG, "東京は", LONG, "Привет", "東京は"]
    names = [f"q{number}" for number in range(6)]
    found = check_questions(questions, tokenizer, make_identity(max_tokens=64), names)
    assert found == QuestionCheck(6, 2, "q1", 3, "q2", 64)
    cut, unknown = found.notes()
    assert cut.startswith("2 of 6 questions, 'q1' the first, are longer than the 64 tokens")
    assert unknown.startswith("3 of 6 questions, 'q2' the first, are mostly unknown to the model")
    assert QuestionCheck.from_json(found.to_json()) == found


def test_parts_of_the_questions_give_the_same_as_all_of_them(tokenizer: Tokenizer) -> None:
    questions = ["river", "a", LONG, "東京は", "b", LONG]
    identity = make_identity(max_tokens=64)
    whole = check_questions(questions, tokenizer, identity)
    for size in (1, 2, 4):
        joined = QuestionCheck()
        for start in range(0, len(questions), size):
            joined += check_questions(questions[start : start + size], tokenizer, identity)
        assert joined == whole
    assert (whole.first_cut, whole.first_unknown) == (LONG[:40], "東京は")


@pytest.mark.parametrize(("words", "cut"), [(31, 0), (32, 1)])
def test_a_question_that_just_fits_is_not_cut(tokenizer: Tokenizer, words: int, cut: int) -> None:
    # A word is two tokens, and two special tokens are around the question.
    found = check_questions(["a " * words], tokenizer, make_identity(max_tokens=64))
    assert found.cut == cut
    prompted = make_identity(max_tokens=64, query_prompt="a ")
    assert check_questions(["a " * 31], tokenizer, prompted).cut == 1


def test_one_question_and_good_ones(tokenizer: Tokenizer) -> None:
    identity = make_identity(max_tokens=64)
    [only] = check_questions([LONG], tokenizer, identity).notes()
    assert only.startswith("The question is longer than the 64 tokens that the model reads")
    assert check_questions(["river", "stone"], tokenizer, identity).notes() == []
    assert QuestionCheck().notes() == []
