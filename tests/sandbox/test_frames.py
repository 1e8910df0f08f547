"""The wire format under hostile bytes, and values that cross as data."""

from __future__ import annotations

import contextlib
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.sandbox.guest import values
from palaestra.sandbox.guest.capture import HeadTail
from palaestra.sandbox.guest.frames import PREFIX, Frame, FrameError, FrameReader, encode, parse_json

HEADERS = st.dictionaries(
    st.text(max_size=8).filter(lambda key: key != "parts"),
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.lists(st.integers(), max_size=3)),
    max_size=4,
)
PARTS = st.dictionaries(st.text(max_size=8), st.binary(max_size=200), max_size=4)


@given(st.lists(st.tuples(HEADERS, PARTS), max_size=4), st.integers(1, 60))
def test_frames_survive_any_fragmentation(messages, step):
    stream = b"".join(encode(header, parts) for header, parts in messages)
    reader, got = FrameReader(), []
    for start in range(0, len(stream), step):
        got += reader.feed(stream[start : start + step])
    assert got == [Frame(header, parts) for header, parts in messages] and reader.pending == 0


@given(st.binary(max_size=400))
def test_garbage_is_refused_or_awaited_never_crashes(data):
    reader = FrameReader(max_header=1000, max_body=1000)
    try:
        for frame in reader.feed(data):
            assert isinstance(frame.header, dict)
    except FrameError:
        with pytest.raises(FrameError):  # a broken stream stays broken
            reader.feed(b"")


@given(HEADERS, PARTS, st.data())
def test_one_flipped_byte_never_crashes(header, parts, data):
    raw = bytearray(encode(header, parts))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FrameError):
        FrameReader(max_header=10_000, max_body=10_000).feed(bytes(raw))


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"1",
        b"{",
        b'{"a": NaN}',
        b'{"parts": 3}',
        b'{"parts": [["a", -1]]}',
        b'{"parts": [["a", 10]]}',
        b'{"parts": [["a", 0], ["a", 0]]}',
        b'{"parts": [["a", true]]}',
        b"[" * 100_000,
        b"9" * 5000,
        b"\xff",
    ],
)
def test_malformed_headers(header):
    with pytest.raises(FrameError):
        FrameReader().feed(PREFIX.pack(len(header), 0) + header)


def test_declared_lengths_are_bounded_before_anything_is_stored():
    with pytest.raises(FrameError, match="is over"):
        FrameReader(max_header=100, max_body=100).feed(struct.pack("!II", 2**31, 0))
    with pytest.raises(FrameError, match="no part claims"):
        FrameReader().feed(PREFIX.pack(2, 3) + b"{}abc")


DATA = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(),
        st.binary(),
        st.complex_numbers(allow_nan=False),
        st.integers(10**30, 10**60),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(), inner, max_size=4),
        st.dictionaries(st.one_of(st.integers(), st.just("$")), inner, max_size=3),
        st.sets(st.integers(), max_size=4),
        st.frozensets(st.text(), max_size=3),
    ),
    max_leaves=12,
)


@given(DATA)
def test_values_cross_unchanged(value):
    back = values.decode(values.encode(value))
    assert back == value and type(back) is type(value)


def test_special_values():
    assert math.isnan(values.decode(values.encode(float("nan"))))
    assert values.decode(values.encode("\ud800")) == "\ud800"

    class Clever(list):
        def __eq__(self, other):
            return True

        def __iter__(self):
            return iter(["forged"])

    back = values.decode(values.encode(Clever([1, 2])))
    assert type(back) is list and back == [1, 2]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: object(), "unsupported_type"),
        (lambda: (i for i in ()), "unsupported_type"),
        (lambda: len, "unsupported_type"),
        (lambda: "x" * (9 << 20), "value_too_large"),
        (lambda: b"x" * (5 << 20), "value_too_large"),
        (lambda: [0] * (5 << 20), "value_too_large"),
    ],
)
def test_values_that_do_not_cross(make, kind):
    with pytest.raises(values.ValueProblem) as problem:
        values.encode(make())
    assert problem.value.kind == kind


def test_deep_and_cyclic_values():
    cyclic: list = []
    cyclic.append(cyclic)
    deep: list = []
    for _ in range(10_000):
        deep = [deep]
    for value in (cyclic, deep):
        with pytest.raises(values.ValueProblem, match="nested deeper"):
            values.encode(value)


@given(st.binary(max_size=200))
def test_decoding_garbage(data):
    with contextlib.suppress(FrameError):
        values.decode(data)


@pytest.mark.parametrize(
    "text",
    [
        '{"$":"set","v":[[1]]}',
        '{"$":"int","v":"zz"}',
        '{"$":"nope","v":[]}',
        '{"$":"tuple","v":3}',
        '{"$":"tuple"}',
        '{"$":"dict","v":[[[1],2]]}',
        '{"$":"bytes","v":"?"}',
        '{"$":"complex","v":[1]}',
        "[" * 50_000,
        '{"$":1,"v":1}',
    ],
)
def test_malformed_values(text):
    with pytest.raises(FrameError):
        values.decode(text.encode())


def test_a_set_made_to_collide_is_refused_by_size():
    colliding = [{"$": "int", "v": hex(i * (2**61 - 1))} for i in range(30_000)]
    import json

    with pytest.raises(FrameError, match="over 20000"):
        values.decode(json.dumps({"$": "set", "v": colliding}).encode())


@given(st.lists(st.binary(max_size=50), max_size=30), st.integers(4, 64))
def test_head_and_tail(chunks, cap):
    capture, whole = HeadTail(cap), b"".join(chunks)
    for chunk in chunks:
        capture.add(chunk)
    kept, dropped, cut = capture.take()
    assert len(kept) <= cap and len(kept) + dropped == len(whole)
    assert whole.startswith(kept[:cut]) and (whole.endswith(kept[cut:]) if dropped else kept == whole)


def test_strict_json():
    with pytest.raises(FrameError):
        parse_json(b"Infinity")
