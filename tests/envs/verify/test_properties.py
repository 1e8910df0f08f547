"""Algebra that has to hold whatever the numbers are."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.envs.verify import verify

WHOLE = st.integers(-999, 999)
NONZERO = WHOLE.filter(bool)


def boxed(answer):
    return f"\\boxed{{{answer}}}"


def ok(gold, answer):
    return verify(gold, boxed(answer)).ok


@given(WHOLE, NONZERO, WHOLE, NONZERO)
def test_fractions_are_compared_exactly(a, b, c, d):
    assert ok(f"\\frac{{{a}}}{{{b}}}", f"{c}/{d}") == (Fraction(a, b) == Fraction(c, d)) or d < 0
    assert ok(f"\\frac{{{a}}}{{{b}}}", f"\\frac{{{c}}}{{{d}}}") == (Fraction(a, b) == Fraction(c, d))


@given(st.decimals(-(10**6), 10**6, places=4), st.decimals(-(10**6), 10**6, places=4))
def test_decimals_are_compared_exactly(a, b):
    assert ok(str(a), str(b)) == (a == b)


@given(st.integers(1000, 10**12))
def test_thousands_marks(n):
    assert ok(str(n), f"{n:,}") and ok(str(n), f"{n:,}".replace(",", "{,}")) and ok(f"{n:,}", str(n))


@given(st.integers(1, 99), st.integers(1, 98), st.integers(2, 99))
def test_mixed_numbers(whole, above, below):
    if above < below:
        assert ok(f"\\frac{{{whole * below + above}}}{{{below}}}", f"{whole}\\frac{{{above}}}{{{below}}}")


@given(NONZERO, WHOLE, WHOLE, WHOLE)
def test_factors_and_products(a, r, s, other):
    product = f"{a}x^2+({-a * (r + s)})x+({a * r * s})"
    assert ok(product, f"{a}(x-({r}))(x-({s}))")
    assert ok(product, f"{a}(x-({r}))(x-({other}))") == (other == s)


@given(st.lists(WHOLE, min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_sets_ignore_order_and_duplicates_but_tuples_do_not(items, rng):
    shuffled = items[:]
    rng.shuffle(shuffled)
    gold = ",".join(map(str, items))
    mixed = ",".join(map(str, shuffled))
    assert ok(f"\\{{{gold}\\}}", f"\\{{{mixed}, {items[0]}\\}}")
    assert ok(f"({gold})", f"({mixed})") == (items == shuffled)
    assert not ok(f"\\{{{gold}\\}}", f"\\{{{gold}, 1000\\}}")


@given(WHOLE, WHOLE, st.sampled_from("[("), st.sampled_from("])"))
def test_intervals_are_inequalities(a, b, opening, closing):
    low, high = min(a, b), max(a, b) + 1
    left, right = ("\\le" if opening == "[" else "<"), ("\\le" if closing == "]" else "<")
    assert ok(f"{opening}{low},{high}{closing}", f"{low} {left} x {right} {high}")
    assert not ok(f"{opening}{low},{high}{closing}", f"{low} {left} x {right} {high + 1}")
    flipped = "<" if opening == "[" else "\\le"
    assert not ok(f"{opening}{low},{high}{closing}", f"{low} {flipped} x {right} {high}")


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 500), st.integers(2, 500))
def test_surds(a, b):
    assert ok(f"\\sqrt{{{a * a * b}}}", f"{a}\\sqrt{{{b}}}")
    assert not ok(f"\\sqrt{{{a * a * b}}}", f"{a}\\sqrt{{{b + 1}}}")


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 99).filter(lambda n: round(n**0.5) ** 2 != n), st.integers(6, 14))
def test_a_rounded_decimal_stands_for_an_irrational_number(n, digits):
    from mpmath import mp, nstr, sqrt

    with mp.workdps(40):
        rounded = nstr(sqrt(n), digits, strip_zeros=False)
    assert ok(f"\\sqrt{{{n}}}", rounded)
    last = str((int(rounded[-1]) + 5) % 10)
    assert not ok(f"\\sqrt{{{n}}}", rounded[:-1] + last)
    assert not ok(rounded, f"\\sqrt{{{n}}}")


@given(st.integers(1, 500), st.sampled_from(["cm", "m", "km"]), st.sampled_from(["cm", "m", "km"]))
def test_lengths_convert(n, one, two):
    size = {"cm": 1, "m": 100, "km": 100_000}
    assert ok(f"{n}\\text{{ {one}}}", f"{n}\\text{{ {two}}}") == (one == two)
    converted = Fraction(n * size[one], size[two])
    assert ok(f"{n}\\text{{ {one}}}", f"\\frac{{{converted.numerator}}}{{{converted.denominator}}}\\text{{ {two}}}")
