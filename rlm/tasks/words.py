"""Word banks shared by the families. Names and nouns have a train half and an evaluation half that never mix."""

# ruff: noqa: E501, SIM905 - word banks read better as text
from __future__ import annotations

from .base import Rng

FIRST = (
    "Mara Tobias Ines Oskar Leila Bruno Freya Hugo Nadia Pavel Greta Silas Yara Emil Dora Ravi Selma Anton Zelda Joris "
    "Amara Kofi Linnea Matteo Petra Rashid Signe Tomas Ulla Viktor Wanda Xenia Ylva Zoran Agnes Basil Clara Dmitri "
    "Elena Farid"
).split()
LAST = (
    "Abbott Brenner Castell Dray Ekholm Fontane Grieve Holm Iversen Jansen Kessler Lund Moreau Novak Okafor Petrov "
    "Quint Rossi Sandoval Tanaka Ueda Varga Weston Xu Yilmaz Zeman Alder Birch Cobb Dunmore Eames Falk Garnet Hale "
    "Irving Joyce Keane Lowell Marsh North"
).split()
ADJECTIVES = (
    "amber brittle copper distant eager frozen gentle hollow ivory jagged kindred lunar marble narrow olive pale quiet "
    "rustic silver tidal umber velvet woven young zinc bronze cobalt dusty emerald faded"
).split()
NOUNS = (
    "anchor barrel compass drawer engine ferry garden harbor island journal kettle ladder mirror needle orchard packet "
    "quarry ribbon saddle tunnel urn vault window archive beacon cabin depot easel furnace gallery"
).split()
_SUBJECTS = (
    "the clerk|a neighbour|the old ferry|somebody|the night train|the committee|a visitor|the gardener|our cousin|"
    "the baker|the last bus|a surveyor|the choir|the teacher|a fisherman|the editor"
).split("|")
_VERBS = (
    "waited near|walked past|wrote about|repaired|remembered|ignored|painted|asked about|looked for|sold|moved|"
    "described|left|found|counted|praised"
).split("|")
_OBJECTS = (
    "the station|a broken lamp|the winter market|an empty shelf|the river path|two letters|the blue door|a wooden crate|"
    "the town map|a quiet street|the harvest|an old radio|the second floor|a paper boat|the ticket office|a long table"
).split("|")
_ENDS = (
    "before noon|after the rain|without a word|for an hour|in late autumn|as usual|despite the noise|with great care|"
    "once again|on the way home|until dusk|for no clear reason"
).split("|")


def person(rng: Rng) -> str:
    """A full name."""
    return f"{rng.pick(FIRST)} {rng.pick(LAST)}"


def filler(rng: Rng) -> str:
    """One sentence that says nothing of use, ending in a line break."""
    subject = rng.pick(_SUBJECTS)
    return f"{subject[0].upper()}{subject[1:]} {rng.pick(_VERBS)} {rng.pick(_OBJECTS)} {rng.pick(_ENDS)}.\n"


def half(items: list[str] | tuple[str, ...], split: str) -> list[str]:
    """The items of a split: even positions train, odd positions are held out for evaluation."""
    if split not in ("train", "eval"):
        raise ValueError(f"split is {split!r}; choose train or eval")
    return list(items[0 if split == "train" else 1 :: 2])
