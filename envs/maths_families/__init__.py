"""Families of generated maths problems, by subject. Each draws a problem and its exact answer.

A family is one function of a generator and a level from 1 to 5, with the decorator `family` of `base`; the level widens
its draws and adds steps. All draws are whole numbers from the generator, so a seed gives the same problem everywhere.
"""

from . import algebra, analysis, counting, geometry, numbers, vectors, words
from .base import FAMILIES, LEVELS, SUBJECTS, Family, Problem, family

__all__ = [
    "FAMILIES", "LEVELS", "SUBJECTS", "Family", "Problem", "algebra", "analysis", "counting", "family", "geometry",
    "numbers", "vectors", "words",
]  # fmt: skip
