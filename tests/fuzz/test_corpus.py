"""Every input of the corpus, once, without the fuzzer."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
MUTANTS = 100


def inputs(name):
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_corpus_finds_nothing(name):
    found = inputs(name)
    assert len(found) >= 5
    for data in found:
        TARGETS[name](data)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_mutants_of_the_corpus_find_nothing(name):
    rng = random.Random(name)
    found = inputs(name)
    for _ in range(MUTANTS):
        mutant = bytearray(rng.choice(found))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(mutant) + 1)
            mutant[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        TARGETS[name](bytes(mutant))


def test_a_target_does_not_hide_a_defect():
    class Defect(Exception):
        pass

    def run(_data):
        raise Defect

    from tests.fuzz.targets import Target

    with pytest.raises(Defect):
        Target(run, (ValueError,))(b"")
    Target(run, (Defect,))(b"")
