"""The words of captions: synonyms for everything in a scene. The first of each list is the usual one."""

from __future__ import annotations

from .catalogue import COLOURS, KINDS

COLOUR_WORDS: dict[str, list[str]] = {
    "red": ["red", "scarlet", "crimson"], "orange": ["orange"], "yellow": ["yellow", "lemon yellow"],
    "green": ["green"], "blue": ["blue", "navy"], "purple": ["purple", "violet"], "pink": ["pink", "rose"],
    "brown": ["brown", "chestnut"], "white": ["white", "snow white"], "black": ["black", "jet black"],
    "silver": ["silver"], "gold": ["gold", "golden", "amber"],
}
MATERIAL_WORDS: dict[str, list[str]] = {
    "": [], "matte": ["matte", "matt"], "glossy": ["glossy", "shiny", "polished", "gleaming"], "glass": ["glass"],
    "clear": ["clear", "transparent", "plastic"], "metal": ["metal", "metallic", "aluminium"],
}
SIZE_WORDS: dict[str, list[str]] = {"small": ["small", "little", "tiny"], "normal": [], "large": ["large", "big", "huge"]}
COUNT_WORDS: dict[int, list[str]] = {1: ["one", "a single", "1"], 2: ["two", "2", "a pair of", "a couple of"],
    3: ["three", "3", "a group of three", "a trio of"]}
ARRANGEMENT_WORDS: dict[str, list[str]] = {
    "single": [], "row": ["in a row", "side by side", "lined up", "next to each other"],
    "cluster": ["in a cluster", "in a group", "grouped together", "close together"],
    "one in front": ["one in front", "one in the foreground", "one before the other", "staggered"],
}
LIGHT_WORDS: dict[str, list[str]] = {
    "soft": ["soft light", "softbox lighting", "soft box light", "soft shadows", "diffuse light", "gentle light", "even lighting"],
    "hard": ["hard side light", "hard light", "dramatic lighting", "strong shadows", "side light", "harsh light", "hard shadows"],
    "top": ["top light", "light from above", "lit from above", "overhead light", "top lighting"],
}
CAMERA_WORDS: dict[str, list[str]] = {
    "front": ["front view", "from the front", "eye level", "seen from the front", "straight on"],
    "three-quarter": ["three-quarter view", "3/4 view", "seen from an angle", "angled view", "three quarter view"],
    "above": ["from above", "top view", "seen from above", "bird's eye view", "flat lay", "top down view"],
}
# background -> names for "a ... background" and for surfaces that things lie on
PAPER_WORDS: dict[str, list[str]] = {
    "white": ["white", "plain white", "pure white", "clean white", "seamless white"], "dark": ["dark", "black", "dark black"],
    "grey": ["grey", "gray", "neutral grey"], "blue": ["blue", "light blue", "pastel blue"], "pink": ["pink", "light pink", "pastel pink"],
    "green": ["green", "light green", "pastel green"], "yellow": ["yellow", "light yellow", "pastel yellow"],
    "beige": ["beige", "cream coloured", "sand coloured"], "purple": ["purple", "light purple", "lavender"],
    "blue gradient": ["blue gradient"], "pink gradient": ["pink gradient"], "grey gradient": ["grey gradient", "gray gradient"],
    "wood": ["wooden", "wood"], "marble": ["marble", "white marble"],
}
SURFACE_WORDS: dict[str, list[str]] = {
    "wood": ["wood", "a wooden table", "a wood table", "a wooden board", "a wooden surface", "an oak table", "a rustic table"],
    "marble": ["marble", "a marble table", "a marble counter", "a marble surface", "a stone counter", "a marble slab"],
    "white": ["white", "a white table", "white paper", "a white seamless", "studio white"], "dark": ["black", "a dark surface",
        "a black table"],
}
BACKDROPS = ["background", "backdrop", "background", "paper", "studio background"]
OPENERS = ["photo of", "studio photo of", "product photo of", "packshot of", "picture of", "image of", "close-up of", "product shot of",
           "professional photo of", "photograph of", "catalogue photo of", "shot of"]
QUALITY = ["high quality", "studio light", "studio lighting", "sharp focus", "4k", "8k", "detailed", "professional photo", "realistic",
           "best quality", "photorealistic", "minimalist", "product shot", "catalogue photo", "packshot", "commercial photography",
               "studio"]
NEGATIVE = ["blurry", "low quality", "worst quality", "bad quality", "ugly", "deformed", "distorted", "noise", "noisy", "watermark",
            "text", "logo", "cropped", "out of frame", "jpeg artifacts", "lowres", "low resolution", "bad", "duplicate", "people",
            "person", "hands", "nsfw", "cartoon", "drawing", "painting", "grainy"]
FRESH = {"fruit": ["fresh", "ripe", "juicy"], "vegetable": ["fresh", "organic", "raw"], "bakery": ["fresh", "tasty", "homemade"],
         "dairy": ["fresh"], "sweet": ["sweet", "tasty"]}
# Words for a whole group of kinds; used rarely, so that a general word gives something of its group.
GENERAL: dict[str, tuple[str, str]] = {"fruit": ("fruit", "fruits"), "vegetable": ("vegetable", "vegetables"),
    "bottle": ("bottle", "bottles"),
                                       "jar": ("jar", "jars"), "can": ("can", "cans"), "carton": ("package", "packages"),
                                       "bakery": ("pastry", "pastries"), "sweet": ("sweet", "sweets")}
GLUE = "a an the on in of with and at from front wall that is are , it its which one coloured made against under being".split()


def words() -> list[str]:
    """Every word that a caption can contain, in alphabetical order."""
    found = set(GLUE)
    tables = [COLOUR_WORDS, MATERIAL_WORDS, SIZE_WORDS, COUNT_WORDS, ARRANGEMENT_WORDS, LIGHT_WORDS, CAMERA_WORDS, PAPER_WORDS,
        SURFACE_WORDS, FRESH]
    phrases = [p for table in tables for values in table.values() for p in values]
    phrases += BACKDROPS + OPENERS + QUALITY + NEGATIVE + list(COLOURS) + [w for pair in GENERAL.values() for w in pair]
    for kind in KINDS.values():
        phrases += [kind.name, kind.plural, *(w for pair in kind.others for w in pair)]
    for phrase in phrases:
        found.update(phrase.split())
    return sorted(found)
