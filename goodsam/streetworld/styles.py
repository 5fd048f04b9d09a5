"""The two cities, written down once: what would differ in reality, not what makes results come out.

A range is (low, high), drawn uniformly; a mapping gives weights of alternatives; colours are sRGB 0..255.
"""

from dataclasses import dataclass

from goodsam.errors import GoodSAMError
from goodsam.streetworld.mesh import Color

Range = tuple[float, float]
Weights = dict[str, float]


@dataclass(frozen=True)
class Style:
    """Everything by which one city differs from another."""

    name: str
    # Street
    lanes: tuple[int, ...]
    """Alternatives for the number of driving lanes, both directions together."""
    lane_width: Range
    """Metres."""
    sidewalk_width: Range
    """Metres."""
    kerb: Range
    """Height of the kerb, metres."""
    parking: float
    """Chance of a parking lane on a side."""
    verge: float
    """Chance of a grass strip with trees between kerb and sidewalk."""
    asphalt: tuple[Color, ...]
    paving: tuple[Color, ...]
    paving_stone: tuple[float, ...]
    """Alternatives for the side of a paving stone, metres; 0 is asphalt or cast concrete."""
    marking: tuple[Color, ...]
    # Buildings
    buildings: Weights
    """terrace, house, block, office, shed."""
    storeys: dict[str, tuple[int, int]]
    """Lowest and highest number of storeys per kind of building."""
    walls: tuple[Color, ...]
    wall_pattern: Weights
    """plaster, brick, stone, panel, boards, tile."""
    roofs: Weights
    """gable, hip, flat, mansard."""
    roof_colors: tuple[Color, ...]
    window: Range
    """Distance of windows, metres."""
    balconies: float
    """Chance per block of flats."""
    # Plots and plants
    boundary: Weights
    """hedge, fence, wall, none."""
    fences: Weights
    """bars, slats, boards, rail."""
    trees: Weights
    """broad, conifer, palm, birch."""
    leaves: tuple[Color, ...]
    grass: tuple[Color, ...]
    tree_distance: Range
    """Along the street, metres."""
    # Street furniture
    pole_colors: tuple[Color, ...]
    lamp_arm: Range
    """Metres over the road; 0 is a post-top lamp."""
    wires: float
    """Chance of wooden or concrete posts with overhead wires."""
    signs: tuple[tuple[Color, Color], ...]
    """Face and border."""
    light_box: tuple[Color, ...]
    # Vehicles and people
    vehicles: Weights
    """hatch, saloon, suv, van, truck."""
    paints: tuple[Color, ...]
    people: tuple[int, int]
    clothes: tuple[Color, ...]
    # Weather and time of day
    clouds: Range
    """Share of the sky that clouds cover, 0..1."""
    sun_elevation: Range
    """Degrees."""
    sun: Range
    """Strength of direct sunlight; skylight is 1."""
    haze: Range
    """Light lost to haze per metre."""
    zenith: tuple[Color, ...]
    horizon: tuple[Color, ...]
    # Camera
    camera_height: Range
    """Metres."""
    exposure: Range
    """Factor on linear light."""
    balance: Range
    """Factor on red, its inverse on blue."""
    noise: Range
    """Standard deviation of sensor noise at mid-grey, 0..255."""
    blur: Range
    """Standard deviation of the lens's blur, pixels."""
    jpeg: tuple[int, int]
    """Quality."""
    own_car: bool
    """Whether panoramic cameras see the car that carries them."""


_CLOTHES: tuple[Color, ...] = (
    (40, 42, 52), (60, 66, 84), (120, 116, 108), (186, 184, 178), (122, 44, 40), (52, 74, 52), (150, 130, 96),
    (72, 88, 128), (206, 170, 70), (90, 90, 92),
)  # fmt: skip

SOURCE = Style(
    name="source",
    lanes=(2, 2, 2, 4),
    lane_width=(2.9, 3.5),
    sidewalk_width=(1.8, 3.6),
    kerb=(0.10, 0.15),
    parking=0.7,
    verge=0.35,
    asphalt=((84, 84, 88), (98, 96, 94), (112, 110, 108), (70, 72, 76)),
    paving=((134, 130, 124), (118, 112, 108), (150, 140, 128), (126, 98, 86), (104, 104, 106)),
    paving_stone=(0.2, 0.3, 0.5, 0.0),
    marking=((214, 214, 208),),
    buildings={"terrace": 4, "house": 3, "block": 2, "office": 0.7, "shed": 0.4},
    storeys={"terrace": (3, 5), "house": (1, 2), "block": (4, 7), "office": (4, 8), "shed": (1, 2)},
    walls=(
        (146, 78, 62), (124, 68, 56), (206, 192, 160), (226, 218, 200), (182, 176, 166), (198, 164, 120),
        (154, 150, 146), (172, 186, 178), (118, 118, 120), (150, 158, 126),
    ),
    wall_pattern={"plaster": 4, "brick": 4, "stone": 1.5, "boards": 0.7, "panel": 0.6},
    roofs={"gable": 5, "hip": 2, "mansard": 2, "flat": 2},
    roof_colors=((122, 66, 50), (92, 56, 48), (74, 74, 80), (96, 90, 88), (64, 60, 60)),
    window=(1.9, 2.7),
    balconies=0.35,
    boundary={"hedge": 3, "fence": 3.5, "wall": 2.5, "none": 1.5},
    fences={"bars": 3, "slats": 3, "boards": 1.5},
    trees={"broad": 6, "birch": 2, "conifer": 1.5},
    leaves=((66, 92, 38), (84, 108, 46), (52, 78, 36), (104, 116, 52), (128, 112, 44), (72, 84, 50)),
    grass=((88, 110, 48), (108, 118, 58), (124, 120, 70), (76, 98, 46)),
    tree_distance=(9, 18),
    pole_colors=((96, 100, 100), (58, 64, 60), (130, 132, 130), (44, 46, 50)),
    lamp_arm=(0.8, 2.2),
    wires=0.15,
    signs=(((226, 226, 222), (172, 34, 36)), ((28, 72, 150), (222, 222, 222)), ((206, 172, 36), (40, 40, 40)),
           ((222, 222, 218), (70, 70, 70))),
    light_box=((34, 38, 36), (46, 56, 48)),
    vehicles={"hatch": 4, "saloon": 3, "suv": 1.5, "van": 1.3, "truck": 0.4},
    paints=((40, 42, 46), (120, 124, 128), (186, 188, 188), (230, 230, 228), (112, 28, 30), (36, 58, 104),
            (62, 84, 66), (96, 110, 70), (150, 140, 120), (80, 84, 90)),
    people=(4, 14),
    clothes=_CLOTHES,
    clouds=(0.1, 0.6),
    sun_elevation=(28, 62),
    sun=(1.8, 3.4),
    haze=(0.0008, 0.0022),
    zenith=((70, 118, 186), (88, 134, 190), (104, 142, 184)),
    horizon=((186, 202, 214), (200, 208, 212), (176, 196, 216)),
    camera_height=(1.5, 1.75),
    exposure=(0.85, 1.2),
    balance=(0.97, 1.06),
    noise=(1.0, 2.5),
    blur=(0.35, 0.6),
    jpeg=(88, 94),
    own_car=False,
)  # fmt: skip

TARGET = Style(
    name="target",
    lanes=(2, 4, 4, 6),
    lane_width=(3.0, 3.7),
    sidewalk_width=(2.4, 5.0),
    kerb=(0.14, 0.22),
    parking=0.35,
    verge=0.5,
    asphalt=((112, 110, 106), (130, 126, 120), (96, 96, 98), (142, 138, 132)),
    paving=((172, 164, 150), (154, 150, 146), (164, 128, 108), (140, 134, 124), (120, 122, 124)),
    paving_stone=(0.4, 0.6, 0.1, 0.0, 1.2),
    marking=((216, 214, 204), (206, 170, 64)),
    buildings={"block": 5, "office": 3, "house": 1.2, "shed": 1.2, "terrace": 1.2},
    storeys={"terrace": (2, 4), "house": (1, 3), "block": (5, 14), "office": (5, 18), "shed": (1, 2)},
    walls=(
        (186, 182, 176), (210, 204, 194), (160, 158, 156), (214, 196, 168), (142, 142, 146), (188, 160, 138),
        (228, 226, 222), (124, 128, 132), (170, 178, 188), (136, 150, 140),
    ),
    wall_pattern={"panel": 3.5, "tile": 3, "plaster": 3, "stone": 1},
    roofs={"flat": 8, "hip": 1.5, "gable": 0.6},
    roof_colors=((128, 126, 122), (150, 96, 70), (96, 98, 100), (78, 108, 120)),
    window=(2.6, 4.0),
    balconies=0.75,
    boundary={"wall": 3.5, "fence": 3, "hedge": 1.5, "none": 2},
    fences={"bars": 2, "rail": 3, "boards": 0.7},
    trees={"palm": 3, "broad": 4, "conifer": 1.5},
    leaves=((60, 86, 56), (86, 100, 62), (50, 70, 48), (110, 114, 70), (76, 98, 76), (134, 120, 76)),
    grass=((118, 112, 66), (136, 124, 82), (92, 106, 58), (142, 126, 96)),
    tree_distance=(7, 14),
    pole_colors=((150, 152, 150), (172, 172, 168), (108, 104, 98), (190, 190, 186)),
    lamp_arm=(1.5, 3.5),
    wires=0.55,
    signs=(((32, 104, 74), (224, 224, 220)), ((30, 80, 160), (226, 226, 226)), ((226, 224, 218), (186, 40, 36)),
           ((210, 180, 40), (30, 30, 30))),
    light_box=((40, 40, 42), (150, 140, 50), (70, 76, 78)),
    vehicles={"saloon": 4, "suv": 3, "hatch": 1.5, "van": 2, "truck": 1},
    paints=((228, 228, 226), (206, 206, 204), (150, 152, 154), (54, 54, 58), (30, 30, 34), (140, 52, 44),
            (92, 104, 84), (190, 164, 70), (104, 124, 142), (122, 106, 88)),
    people=(4, 20),
    clothes=_CLOTHES,
    clouds=(0.45, 1.0),
    sun_elevation=(12, 40),
    sun=(0.0, 2.0),
    haze=(0.002, 0.006),
    zenith=((124, 142, 164), (140, 150, 160), (112, 136, 166)),
    horizon=((208, 206, 198), (216, 208, 192), (196, 200, 202)),
    camera_height=(1.75, 2.15),
    exposure=(0.8, 1.3),
    balance=(0.98, 1.12),
    noise=(1.5, 4.0),
    blur=(0.45, 0.9),
    jpeg=(78, 90),
    own_car=True,
)  # fmt: skip

STYLES = {"source": SOURCE, "target": TARGET}


def style_named(name: str) -> Style:
    """A style by name.

    Raises:
        GoodSAMError: no such style.
    """
    if name not in STYLES:
        raise GoodSAMError(f"--style {name}: must be one of {', '.join(STYLES)}.")
    return STYLES[name]
