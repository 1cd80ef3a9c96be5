"""The products: their names, colours and materials.

The first colour is the usual one. Natural kinds have their own colours; wares have any of FREE. A material list of one
empty word means that the kind has no material worth mentioning.
"""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[float, float, float]

COLOURS: dict[str, Colour] = {  # the surface's sRGB
    "red": (0.78, 0.06, 0.07), "orange": (0.95, 0.46, 0.05), "yellow": (0.96, 0.80, 0.10), "green": (0.20, 0.55, 0.17),
    "blue": (0.09, 0.27, 0.72), "purple": (0.42, 0.13, 0.56), "pink": (0.94, 0.48, 0.63), "brown": (0.42, 0.24, 0.11),
    "white": (0.93, 0.92, 0.90), "black": (0.06, 0.06, 0.065), "silver": (0.78, 0.79, 0.80), "gold": (0.86, 0.66, 0.30),
}
FREE = ["white", "red", "blue", "green", "yellow", "orange", "purple", "pink", "brown", "black"]


@dataclass(frozen=True)
class Kind:
    name: str
    plural: str
    others: tuple[tuple[str, str], ...]  # further names, (singular, plural)
    colours: dict[str, Colour]
    materials: tuple[str, ...] = ("",)
    group: str = ""


KINDS: dict[str, Kind] = {}


def natural(name: str, plural: str, colours: dict[str, Colour], *others: tuple[str, str], group: str = "fruit") -> None:
    KINDS[name] = Kind(name, plural, others, colours, ("",), group)


def ware(name: str, plural: str, colours: list[str], materials: tuple[str, ...], *others: tuple[str, str], group: str = "ware") -> None:
    KINDS[name] = Kind(name, plural, others, {c: COLOURS[c] for c in colours}, materials, group)


natural("apple", "apples", {"red": (.70, .06, .07), "green": (.50, .68, .15), "yellow": (.92, .78, .25)})
natural("pear", "pears", {"green": (.62, .72, .22), "yellow": (.90, .78, .25), "brown": (.60, .42, .20), "red": (.62, .14, .12)})
natural("orange", "oranges", {"orange": (.96, .50, .04)}, ("tangerine", "tangerines"), ("mandarin", "mandarins"))
natural("lemon", "lemons", {"yellow": (.97, .84, .12)})
natural("lime", "limes", {"green": (.36, .60, .13)})
natural("banana", "bananas", {"yellow": (.95, .80, .16), "green": (.58, .70, .20)})
natural("grapes", "bunches of grapes", {"purple": (.24, .09, .26), "green": (.62, .72, .28), "red": (.50, .10, .16)},
    ("bunch of grapes", "bunches of grapes"))
natural("strawberry", "strawberries", {"red": (.80, .06, .07)})
natural("cherry", "cherries", {"red": (.58, .02, .06), "black": (.16, .02, .04), "yellow": (.95, .70, .30)})
natural("watermelon", "watermelons", {"green": (.20, .42, .14)}, ("melon", "melons"))
natural("pineapple", "pineapples", {"yellow": (.82, .58, .18), "green": (.50, .50, .18)}, ("ananas", "ananas"))
natural("avocado", "avocados", {"green": (.22, .32, .10), "black": (.13, .11, .09)})
natural("kiwi", "kiwis", {"brown": (.44, .32, .16)}, ("kiwi fruit", "kiwi fruits"))
natural("tomato", "tomatoes", {"red": (.80, .08, .05), "yellow": (.95, .72, .12), "green": (.45, .60, .16),
    "orange": (.94, .48, .08)}, group="vegetable")
natural("carrot", "carrots", {"orange": (.93, .45, .08), "purple": (.36, .12, .28), "yellow": (.93, .74, .22)}, group="vegetable")
natural("cucumber", "cucumbers", {"green": (.15, .36, .10)}, ("gherkin", "gherkins"), group="vegetable")
natural("aubergine", "aubergines", {"purple": (.22, .06, .24), "black": (.07, .04, .08), "white": (.92, .90, .84)},
    ("eggplant", "eggplants"), group="vegetable")
natural("bell pepper", "bell peppers", {"red": (.74, .05, .05), "green": (.16, .44, .09), "yellow": (.96, .76, .06),
    "orange": (.94, .45, .04)}, ("pepper", "peppers"), ("sweet pepper", "sweet peppers"), group="vegetable")
natural("broccoli", "heads of broccoli", {"green": (.22, .42, .13)}, ("head of broccoli", "heads of broccoli"), group="vegetable")
natural("onion", "onions", {"brown": (.74, .46, .18), "red": (.50, .10, .22), "white": (.92, .90, .82)}, group="vegetable")
natural("potato", "potatoes", {"brown": (.68, .52, .30), "red": (.60, .28, .26)}, group="vegetable")
natural("mushroom", "mushrooms", {"white": (.90, .86, .79), "brown": (.56, .38, .22)}, ("champignon", "champignons"), group="vegetable")
natural("pumpkin", "pumpkins", {"orange": (.90, .44, .06), "white": (.90, .86, .76), "green": (.28, .38, .18)},
    ("squash", "squashes"), group="vegetable")
natural("corn", "corn cobs", {"yellow": (.96, .78, .18)}, ("corn cob", "corn cobs"), ("maize", "corn cobs"),
    ("sweetcorn", "corn cobs"), group="vegetable")
natural("garlic", "garlic bulbs", {"white": (.90, .86, .80), "purple": (.70, .56, .66)}, ("garlic bulb", "garlic bulbs"), group="vegetable")
natural("bread", "loaves of bread", {"brown": (.70, .44, .18)}, ("loaf of bread", "loaves of bread"),
    ("bread loaf", "bread loaves"), group="bakery")
natural("croissant", "croissants", {"brown": (.78, .47, .16)}, group="bakery")
natural("doughnut", "doughnuts", {"pink": (.95, .55, .68), "brown": (.27, .14, .07), "white": (.95, .93, .90),
    "yellow": (.96, .82, .35), "blue": (.40, .66, .90), "green": (.55, .80, .50), "purple": (.66, .50, .84)}, ("donut", "donuts"),
    group="bakery")
natural("cupcake", "cupcakes", {"pink": (.95, .62, .74), "white": (.95, .93, .90), "brown": (.36, .20, .11),
    "blue": (.55, .74, .93), "yellow": (.97, .86, .45), "green": (.66, .85, .58), "purple": (.74, .60, .88),
    "red": (.80, .15, .18)}, ("muffin", "muffins"), group="bakery")
natural("cookie", "cookies", {"brown": (.76, .52, .26), "black": (.17, .11, .08)}, ("biscuit", "biscuits"),
    ("chocolate chip cookie", "chocolate chip cookies"), group="bakery")
natural("cheese", "wedges of cheese", {"yellow": (.95, .77, .30), "orange": (.92, .55, .16), "white": (.94, .91, .80)},
    ("cheese wedge", "cheese wedges"), ("piece of cheese", "pieces of cheese"), group="dairy")
natural("egg", "eggs", {"brown": (.85, .61, .45), "white": (.94, .92, .88), "blue": (.66, .78, .82)},
    ("chicken egg", "chicken eggs"), group="dairy")
ware("wine bottle", "wine bottles", ["green", "brown", "black", "white"], ("glass",), ("bottle of wine", "bottles of wine"), group="bottle")
ware("water bottle", "water bottles", ["blue", "green", "white", "pink", "red"], ("clear",),
    ("bottle of water", "bottles of water"), group="bottle")
ware("juice bottle", "juice bottles", ["orange", "red", "yellow", "green", "purple", "pink"], ("glass",),
    ("bottle of juice", "bottles of juice"), group="bottle")
ware("spray bottle", "spray bottles", FREE, ("matte", "glossy"), ("cleaner bottle", "cleaner bottles"), group="bottle")
ware("jam jar", "jam jars", ["red", "orange", "purple", "yellow", "green"], ("glass",), ("jar of jam", "jars of jam"),
    ("jar", "jars"), group="jar")
ware("honey jar", "honey jars", ["gold", "brown", "yellow"], ("glass",), ("jar of honey", "jars of honey"), group="jar")
ware("soda can", "soda cans", [*FREE, "silver", "gold"], ("metal", "matte"), ("drink can", "drink cans"), ("can", "cans"), group="can")
ware("milk carton", "milk cartons", FREE, ("matte", "glossy"), ("carton", "cartons"), ("carton of milk", "cartons of milk"), group="carton")
ware("cereal box", "cereal boxes", FREE, ("matte", "glossy"), ("box", "boxes"), ("box of cereal", "boxes of cereal"), group="carton")
ware("mug", "mugs", FREE, ("glossy", "matte", "metal"), ("coffee mug", "coffee mugs"), ("cup", "cups"))
ware("paper cup", "paper cups", FREE, ("matte",), ("coffee to go", "coffees to go"), ("takeaway cup", "takeaway cups"))
ware("teapot", "teapots", [*FREE, "silver"], ("glossy", "matte", "metal"), ("tea pot", "tea pots"))
ware("bowl", "bowls", FREE, ("glossy", "matte", "metal"), ("soup bowl", "soup bowls"))
ware("chocolate bar", "chocolate bars", ["brown", "white", "black"], ("",), ("bar of chocolate", "bars of chocolate"),
    ("chocolate", "chocolates"), group="sweet")
ware("lollipop", "lollipops", ["red", "pink", "orange", "yellow", "green", "blue", "purple"], ("",), ("lolly", "lollies"), group="sweet")
ware("candy", "candies", ["red", "pink", "orange", "yellow", "green", "blue", "purple", "white", "gold"], ("",),
    ("wrapped candy", "wrapped candies"), ("sweet", "sweets"), group="sweet")
natural("macaron", "macarons", {"pink": (.93, .58, .68), "green": (.68, .82, .50), "yellow": (.96, .84, .42),
    "purple": (.70, .54, .80), "brown": (.50, .32, .20), "blue": (.55, .74, .88), "white": (.94, .91, .85),
    "orange": (.95, .62, .32), "red": (.80, .20, .25)}, group="sweet")
natural("ice cream", "ice creams", {"pink": (.95, .62, .70), "white": (.96, .93, .84), "brown": (.40, .23, .13),
    "green": (.68, .86, .66), "yellow": (.97, .86, .50)}, ("ice cream cone", "ice cream cones"), group="sweet")
