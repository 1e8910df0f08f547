"""Units of measure: enough to tell metres from kilometres and centimetres from square centimetres."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from .notation import words


class Unit(NamedTuple):
    """A unit as a factor to the base of its dimension; ``dims`` maps base names to powers, sorted.

    ``known`` is false for a word such as "apples" that only stands for itself; ``offset`` belongs to temperatures.
    """

    factor: Fraction
    dims: tuple[tuple[str, int], ...]
    known: bool = True
    offset: Fraction = Fraction(0)


def _unit(factor: str, **dims: int) -> Unit:
    return Unit(Fraction(factor), tuple(sorted(dims.items())))


_TABLE: dict[str, Unit] = {}


def _define(names: str, factor: str, **dims: int) -> None:
    for name in names.split():
        _TABLE[name] = _unit(factor, **dims)


_define("m meter meters metre metres", "1", length=1)
_define("km kilometer kilometers kilometre kilometres", "1000", length=1)
_define("cm centimeter centimeters centimetre centimetres", "0.01", length=1)
_define("mm millimeter millimeters millimetre millimetres", "0.001", length=1)
_define("dm", "0.1", length=1)
_define("nm nanometer nanometers", "1e-9", length=1)
_define("μm um micrometer micrometers", "1e-6", length=1)
_define("in inch inches", "0.0254", length=1)
_define("ft foot feet", "0.3048", length=1)
_define("yd yard yards", "0.9144", length=1)
_define("mi mile miles", "1609.344", length=1)
_define("kg kilogram kilograms", "1000", mass=1)
_define("g gram grams", "1", mass=1)
_define("mg milligram milligrams", "0.001", mass=1)
_define("lb lbs pound pounds", "453.59237", mass=1)
_define("oz ounce ounces", "28.349523125", mass=1)
_define("ton tons tonne tonnes", "1", tonne=1)
_define("s sec secs second seconds", "1", time=1)
_define("ms millisecond milliseconds", "0.001", time=1)
_define("min mins minute minutes", "60", time=1)
_define("h hr hrs hour hours", "3600", time=1)
_define("day days", "86400", time=1)
_define("week weeks", "604800", time=1)
_define("month months", "1", month=1)
_define("yr yrs year years", "12", month=1)
_define("L l liter liters litre litres", "0.001", length=3)
_define("mL ml milliliter milliliters millilitre millilitres", "0.000001", length=3)
_define("gal gallon gallons", "1", gallon=1)
_define("hectare hectares", "10000", length=2)
_define("N newton newtons", "1000", mass=1, length=1, time=-2)
_define("J joule joules", "1000", mass=1, length=2, time=-2)
_define("kJ kilojoule kilojoules", "1000000", mass=1, length=2, time=-2)
_define("W watt watts", "1000", mass=1, length=2, time=-3)
_define("kW kilowatt kilowatts", "1000000", mass=1, length=2, time=-3)
_define("Pa pascal pascals", "1000", mass=1, length=-1, time=-2)
_define("kPa", "1000000", mass=1, length=-1, time=-2)
_define("Hz hertz", "1", time=-1)
_define("V volt volts", "1", volt=1)
_define("C coulomb coulombs", "1", coulomb=1)
_define("A amp amps ampere amperes", "1", ampere=1)
_define("Ω ohm ohms", "1", ohm=1)
_define("mol mole moles", "1", mole=1)
_define("mph", "0.44704", length=1, time=-1)
_define("kph kmh", "5/18", length=1, time=-1)
_define("dollar dollars usd USD bucks", "1", dollar=1)
_define("cent cents ¢", "0.01", dollar=1)
_define("euro euros EUR €", "1", euro=1)
_define("£ GBP", "1", sterling=1)
_define("¥ yen JPY", "1", yen=1)
_define("₹ rupee rupees INR Rs", "1", rupee=1)
_define("degree degrees deg", "1", degree=1)
_define("rad radian radians", "1", radian=1)
_define("unit units", "1", unit=1)
_TABLE["K"] = Unit(Fraction(1), (("kelvin", 1),))
_TABLE["°C"] = Unit(Fraction(1), (("kelvin", 1),), True, Fraction("273.15"))
_TABLE["°F"] = Unit(Fraction(5, 9), (("kelvin", 1),), True, Fraction("459.67") * Fraction(5, 9))
_TABLE["celsius"] = _TABLE["°C"]
_TABLE["fahrenheit"] = _TABLE["°F"]
_TABLE["sq"] = _TABLE["square"] = _TABLE["cubic"] = Unit(Fraction(1), ())

NONE = Unit(Fraction(1), ())
DEGREE = _TABLE["degree"]
CURRENCY = {"dollar": "dollar", "€": "€", "£": "£", "¥": "¥", "₹": "₹", "euro": "€", "pounds": "£"}
_PREFIX = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
CURRENCY_CODES = words("USD EUR GBP JPY INR Rs US")
SCALES = {
    "dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
_FILLER = frozenset(["of", "the", "a", "an", "total", "each"])
# Words that say something about a value, or name another one: "17 or more", "17 is wrong", "17 and a half".
_NO_UNIT = words(
    "or and not no nor is are was were be isn't if unless when where while but than less more most least fewer over "
    "under below above beyond about approximately approx roughly around almost nearly maybe perhaps possibly probably "
    "likely either neither both between to until minus plus times divided squared cubed mod modulo remainder half "
    "third quarter twice double triple wrong incorrect false otherwise else anything something unknown any versus vs "
    "because since so then now wait hmm"
)
_NO_UNIT_CJK = re.compile("[不或和与约至非以几半]")
_SPLIT = re.compile(r"\s*(/|\bper\b|\*|\\cdot|·|⋅|[A-Za-zμΩ°€£¥₹¢\u3400-\u9fff]+\.?|\^?\{?-?\d+\}?|.)\s*")
_REMARK = re.compile(r"(?:^|\s)\s*\(([A-Za-z][A-Za-z ,'-]{2,})\)\s*\Z")


def singular(word: str) -> str:
    """A crude singular, enough to match "apple" with "apples" and "inches" with "inch"."""
    if len(word) > 3 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def lookup(word: str) -> Unit | None:
    """The unit a word names, or None."""
    word = word.rstrip(".")
    return _TABLE.get(word) or _TABLE.get(word.lower() if len(word) > 2 else word)


def power(unit: Unit, exponent: int) -> Unit:
    """A unit raised to a whole power."""
    return Unit(unit.factor**exponent, tuple((name, p * exponent) for name, p in unit.dims if exponent), unit.known)


def times(left: Unit, right: Unit) -> Unit:
    """The product of two units; the offset of a temperature survives only next to nothing."""
    dims = dict(left.dims)
    for name, exponent in right.dims:
        dims[name] = dims.get(name, 0) + exponent
    offset = right.offset if not left.dims else left.offset if not right.dims else Fraction(0)
    kept = tuple(sorted((name, p) for name, p in dims.items() if p))
    return Unit(left.factor * right.factor, kept, left.known and right.known, offset)


def is_remark(text: str) -> bool:
    """Do the words leave the value they stand behind as it is? "or more", "is wrong" and "and a half" do not."""
    return not _NO_UNIT_CJK.search(text) and _NO_UNIT.isdisjoint(re.findall(r"[a-z']+", text.lower()))


def without_remark(text: str) -> str:
    """The text without a harmless remark in brackets at its end, as in ``8 (eight)``."""
    match = _REMARK.search(text)
    return text[: match.start()] if match and is_remark(match[1]) else text


def parse_unit(text: str) -> Unit | None:
    """Read a unit such as ``cm^2``, ``km/h``, ``square feet`` or ``red apples``.

    Returns:
        The unit, or None where the text holds anything but words, slashes and powers.
    """
    if not is_remark(text):
        return None
    result, sign, pending, named = NONE, 1, 0, 0
    last: Unit | None = None
    at = 0
    text = text.strip()
    while at < len(text):
        match = _SPLIT.match(text, at)
        if match is None:
            return None
        at, piece = match.end(), match[1]
        if piece in ("/", "per"):
            if last is not None:
                result, last = times(result, last), None
            sign = -1
        elif piece in ("*", "\\cdot", "·", "⋅"):
            continue
        elif re.fullmatch(r"\^?\{?-?\d+\}?", piece):
            if last is None:
                return None
            exponent = int(piece.strip("^{}"))
            if abs(exponent) > 9:
                return None
            result, last = times(result, power(last, exponent)), None
        elif re.fullmatch(r"[A-Za-zμΩ°€£¥₹¢\u3400-\u9fff]+\.?", piece):
            word = piece.rstrip(".")
            if last is not None:
                result, last = times(result, last), None
            named += 1
            if word.lower() in _PREFIX:
                pending = _PREFIX[word.lower()]
                continue
            if word.lower() in _FILLER:
                continue
            # The space keeps a word such as "pm" or "sym" apart from the kinds of nodes.
            unit = lookup(word) or Unit(Fraction(1), ((f" {singular(word.lower())}", 1),), False)
            last = power(unit, sign * (pending or 1)) if sign * (pending or 1) != 1 else unit
            sign, pending = 1, 0
        else:
            return None
    if last is not None:
        result = times(result, last)
    return result if named and named <= 6 and (result.dims or pending == 0) else None
