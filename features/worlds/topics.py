"""What the synthetic videos are about, and their made-up titles and creators."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

TAGS_PER_TOPIC = 6
TOPICS: dict[str, tuple[str, ...]] = {
    "cooking": ("sourdough", "ramen", "pickles", "curry", "pancakes", "dumplings"),
    "travel": ("night trains", "Lisbon", "the Andes", "island ferries", "Kyoto", "desert roads"),
    "football": ("free kicks", "goalkeepers", "derby days", "pressing", "penalties", "academies"),
    "music": ("fingerpicking", "synthesizers", "choirs", "vinyl", "drum fills", "jazz chords"),
    "gardening": ("tomatoes", "compost", "roses", "balconies", "bonsai", "beehives"),
    "space": ("black holes", "Mars rovers", "eclipses", "telescopes", "rocket engines", "comets"),
    "chess": ("endgames", "the Sicilian", "blitz", "sacrifices", "rook lifts", "chess clocks"),
    "robotics": ("robot arms", "drones", "line followers", "servos", "3D printing", "sensors"),
    "history": ("castles", "the Silk Road", "old maps", "shipwrecks", "Roman roads", "letters"),
    "fitness": ("kettlebells", "morning yoga", "trail running", "pull-ups", "rowing", "mobility"),
    "comedy": ("flatmates", "office parties", "bad hotels", "in-laws", "first dates", "queues"),
    "animals": ("cats", "otters", "rescue dogs", "crows", "octopuses", "hedgehogs"),
    "craft": ("dovetails", "pottery", "knitting", "leather", "bookbinding", "whittling"),
    "film": ("film noir", "stunts", "foley sound", "westerns", "one-take scenes", "miniatures"),
    "cycling": ("gravel bikes", "mountain passes", "wheel building", "velodromes", "cargo bikes")
    + ("bikepacking",),
    "science": ("magnets", "slime moulds", "tide pools", "lightning", "crystals", "optical fibre"),
}
TITLES = (
    "The quiet art of {}",
    "{} in ten minutes",
    "What nobody tells you about {}",
    "I tried {} for a month",
    "{} for complete beginners",
    "{}: harder than it looks",
    "My worst day with {}",
    "Seven myths about {}",
    "A love letter to {}",
    "{}, explained with coffee cups",
    "The truth about {}",
    "{} on a tiny budget",
    "Everything wrong with {}",
    "My week with {}",
    "Behind the scenes: {}",
    "{} at three in the morning",
    "An expert reacts to {}",
    "{}, but make it relaxing",
    "The secret history of {}",
    "One rule for better {}",
    "{}: answering your questions",
    "We need to talk about {}",
    "A slow afternoon with {}",
    "{} moments that made us gasp",
    "Grandma's advice on {}",
    "{} against the clock",
    "The best of {} this year",
    "Lost and found: {}",
    "{} in the rain",
    "Five lessons from {}",
)
FIRST_NAMES = [
    "Mina",
    "Omar",
    "Lena",
    "Kofi",
    "Ines",
    "Ravi",
    "Sofia",
    "Juno",
    "Tariq",
    "Elsa",
    "Hugo",
    "Amara",
    "Nils",
    "Priya",
    "Mateo",
    "Yuki",
    "Zara",
    "Emil",
    "Dara",
    "Luca",
    "Freya",
    "Idris",
    "Noor",
    "Pablo",
    "Anouk",
    "Bela",
    "Chen",
    "Dalia",
    "Ewan",
    "Farah",
    "Goro",
    "Hana",
]
LAST_NAMES = [
    "Okafor",
    "Lindqvist",
    "Tanaka",
    "Moreau",
    "Silva",
    "Haddad",
    "Novak",
    "Iyer",
    "Brandt",
    "Castillo",
    "Ahmadi",
    "Keller",
    "Rossi",
    "Nguyen",
    "Fischer",
    "Adeyemi",
    "Kowalski",
    "Laurent",
    "Mbeki",
    "Olsen",
    "Petrov",
    "Quispe",
    "Romero",
    "Sato",
    "Thorne",
    "Ueda",
    "Vargas",
    "Weiss",
    "Xu",
    "Yilmaz",
    "Zeman",
    "Abara",
]


def topic_names(num_topics: int) -> list[str]:
    """Return the first topics' names."""
    return list(TOPICS)[:num_topics]


def tag_names(num_topics: int) -> list[str]:
    """Return the tags of the first topics; topic k owns TAGS_PER_TOPIC tags from k times that."""
    return [tag for topic in topic_names(num_topics) for tag in TOPICS[topic]]


def titles(tags: npt.NDArray[np.int64], patterns: npt.NDArray[np.int64]) -> pa.Array:
    """Write a title about each tag; numbers index `tag_names` and TITLES."""
    before, after = zip(*(pattern.split("{}") for pattern in TITLES), strict=True)
    parts = [_take(before, patterns), _take(tag_names(len(TOPICS)), tags), _take(after, patterns)]
    plain = pc.binary_join_element_wise(*parts, "")
    first = pc.utf8_upper(pc.utf8_slice_codeunits(plain, 0, 1))
    return pc.binary_join_element_wise(first, pc.utf8_slice_codeunits(plain, 1), "")


def creator_names(creators: npt.NDArray[np.int64]) -> pa.Array:
    """Name creators; beyond all combinations of names a number is added."""
    first = _take(FIRST_NAMES, creators % len(FIRST_NAMES))
    rest = creators // len(FIRST_NAMES)
    last = _take(LAST_NAMES, (rest + creators) % len(LAST_NAMES))
    generation = rest // len(LAST_NAMES)
    number = pc.if_else(
        pa.array(generation > 0), pc.cast(pa.array(generation + 1), pa.string()), ""
    )
    return pc.utf8_rtrim_whitespace(pc.binary_join_element_wise(first, last, number, " "))


def _take(names: Sequence[str], index: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(list(names)).take(pa.array(index))
