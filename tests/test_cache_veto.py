"""Words that turn a question into another one."""

from __future__ import annotations

import pytest

from hypothesis import given
from hypothesis import strategies as st

from legion import SemanticCache
from legion.cache.veto import VetoRecord, veto


OTHERS = [
    (
        "How do I turn on dark mode?",
        "How do I turn off dark mode?",
        "opposites: on, off",
    ),
    ("enable notifications", "disable notifications", "opposites: enable, disable"),
    ("activate my card", "deactivate my card", "opposites: activate, deactivate"),
    ("increase my card limit", "decreasing my card limit", "increase, decreasing"),
    ("Is it safe to fly?", "Is it unsafe to fly?", "opposites: safe, unsafe"),
    ("flights on 3 May", "flights on 5 May", "other numbers: 3, 5"),
    ("a table for two people", "a table for 4 people", "other numbers: two, 4"),
    ("price of 1.5 litres", "price of 2.5 litres", "other numbers: 1.5, 2.5"),
    ("the meeting on Monday", "the meeting on tuesday", "other dates: Monday, tuesday"),
    ("weather in Paris", "What is the weather in Berlin", "other names: Paris, Berlin"),
    ("can I eat gluten", "can I not eat gluten", "only one is negated"),
    ("I can log in", "I can't log in", "only one is negated"),
    ("convert USD to EUR", "convert EUR to USD", "the other way round: USD, EUR"),
    ("from savings to checking", "from checking to savings", "the other way round"),
    ("Is it -5 outside?", "Is it 5 outside?", "other numbers: -5, 5"),
    ("an amount of \u22125", "an amount of 5", "other numbers: -5, 5"),
    ("a discount of 10%", "a discount of 10", "other units: %, none"),
    ("Can I pay $5?", "Can I pay \u20ac5?", "other units: $, \u20ac"),
    ("Can I pay $5?", "Can I pay 5 euros?", "other units: $, euros"),
    ("pay one euro", "pay two euro", "other numbers: one, two"),
    ("Who won first prize?", "Who won second prize?", "numbers: first, second"),
    ("my first payment", "my last payment", "opposites: first, last"),
    (
        "Does Alice owe Bob money?",
        "Does Bob owe Alice money?",
        "the other way round: Alice, Bob",
    ),
    ("Alice owes Bob money", "Bob owes Alice money", "other way round: Alice, Bob"),
]
SAME = [
    ("my card is not working", "why does the payment fail with this card"),
    ("I have 2 cards", "how many cards can I have"),
    ("unhappy with the service", "not happy with the service"),
    ("change GBP to AUD", "change to AUD from GBP"),
    ("Where is my parcel?", "where is my Parcel"),
    ("WHERE IS MY PARCEL", "where is my parcel"),
    ("top up by card", "topping up with a card"),
    ("a table for two", "a table for 2"),
    ("a loan of 1,000", "a loan of 1000"),
    ("a loan of $1,000.50", "a loan of 1000.50 dollars"),
    ("Which one costs 5?", "Which costs 5?"),
    ("wait a second for 3 cards", "wait for 3 cards"),
    ("I was charged many times for one order", "I was charged two times for an order"),
    ("the fee of £1", "the fee of 1"),
    ("At what ATM can Eve change her PIN?", "Can Eve change her PIN at any ATM?"),
    ("COVID-19 rules", "COVID 19 rules"),
    ("Do Alice and Bob know me?", "Do Bob and Alice know me?"),
    ("Can I fly from London to Paris?", "Can I fly to Paris from London?"),
    ("", ""),
    ("!?", "7"),
]


@pytest.mark.parametrize(("asked", "stored", "said"), OTHERS)
def test_near_questions_that_mean_something_else_are_named(asked, stored, said):
    """Opposites, numbers, dates, names, a negation, the order: whoever asks first."""
    assert said in str(veto(asked, stored))
    assert veto(stored, asked) is not None


@pytest.mark.parametrize(("asked", "stored"), SAME)
def test_other_words_for_the_same_are_left_alone(asked, stored):
    """Where the wording differs as a whole, or nothing does, one word says little."""
    assert veto(asked, stored) is None
    assert veto(stored, asked) is None


LONG = " ".join(f"The {word} paragraph says so." for word in "abcdefghij" * 20)


@pytest.mark.parametrize(("asked", "stored", "said"), OTHERS)
def test_a_long_text_is_looked_at_where_it_differs(asked, stored, said):
    """However much around it is the same: an embedder may not even read so far."""
    asked, stored = (f"{LONG} So: {each} Thanks. {LONG}" for each in (asked, stored))

    assert said in str(veto(asked, stored))
    assert veto(stored, asked) is not None


def test_long_texts_that_are_worded_differently_are_left_alone():
    """As short ones are, or where the same is said with other spaces and stops."""
    words = [f"{word}{i}" for i in range(500) for word in ("up", "down")]
    assert veto(" ".join(words), " ".join(reversed(words))) is None
    assert veto(f"{LONG} my card is not working", f"{LONG} the payment failed") is None
    assert veto(f"{LONG} 5, then", f"{LONG} 5 then") is None


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_two_texts_have_an_answer_that_does_not_depend_on_the_order(a, b):
    """Whatever is typed; and nothing is vetoed against itself."""
    assert (veto(a, b) is None) == (veto(b, a) is None)
    assert veto(a, a) is None


def same(texts):
    return [[1.0, 0.001 * len(text)] for text in texts]


def test_a_threshold_takes_what_reaches_it_unless_told_otherwise():
    """A fixed threshold means what it says; ``veto=True`` refuses opposites, too."""
    question, opposite = OTHERS[0][:2]
    plain, careful = SemanticCache(same), SemanticCache(same, veto=True)
    for cache in (plain, careful):
        cache.put(question, "Settings, Display, on.")

    assert plain.get(opposite).value == "Settings, Display, on."
    assert careful.get(opposite) is None
    assert careful.stats().vetoed == 1
    why = careful.explain(opposite)
    assert why.outcome == "miss"
    assert why.veto == "opposites: off, on"
    assert "does not mean the same (opposites: off, on)" in why.reason


def test_a_further_entry_answers_where_the_nearest_is_vetoed():
    """An opposite beside it takes no right answer away."""
    cache = SemanticCache(same, veto=True)
    cache.put("turn on dark mode", "on")
    cache.put("switch the dark mode off, how", "off")

    assert cache.get("turn off dark mode").value == "off"
    why = cache.explain("turn off dark mode")
    assert why.outcome == "semantic_hit"
    assert "a nearer one is vetoed (opposites: off, on)" in why.reason


def test_a_kind_that_keeps_right_answers_out_is_dropped():
    """Numbers of tickets mean nothing; those of prices everything."""
    record = VetoRecord()
    for _ in range(19):
        record.learn("numbers", right=True)
    assert not record.pardoned
    record.learn("numbers", right=True)
    record.learn("opposites", right=False)
    assert record.pardoned == {"numbers"}
    for _ in range(5):
        record.learn("numbers", right=False)
    assert not record.pardoned


def test_a_promised_error_learns_which_vetoes_are_wrong():
    """Where the number in a question never matters, its veto goes away by itself."""
    cache = SemanticCache(
        lambda texts: [
            [(len(t) * 7 % 5) / 50 + (t[0] == c) for c in "abcdef"] for t in texts
        ],
        max_error=0.05,
        judge=lambda question, value: question[0] == value,
        judged=1.0,
    )
    for i in range(400):
        question = f"{'abcdef'[i % 6]}-ticket number {i}"
        if cache.get(question) is None:
            cache.put(question, question[0])

    assert cache.stats().vetoed >= 20
    assert cache.stats().hit_rate > 0.5
