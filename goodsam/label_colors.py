"""Classes of the built-in label sets in the order of their ids, with the colours that their data sets draw them in."""

RGB = tuple[int, int, int]

CITYSCAPES: dict[str, RGB] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
_NOT_IN_DENSEPASS13 = ("rider", "truck", "bus", "train", "motorcycle", "bicycle")
DENSEPASS13 = {name: color for name, color in CITYSCAPES.items() if name not in _NOT_IN_DENSEPASS13}

# Order and colours of elnino9ykl/WildPASS, segment/eval_color_fusion.py and segment/dataset_loader.py.
WILDPASS8: dict[str, RGB] = {
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "person": (220, 20, 60),
    "curb": (196, 196, 196),
    "crosswalk": (200, 128, 128),
}

# Colours of jamycheung/Trans4PASS, adaptations/dataset/s2d3d_pan_list/info.json, without its class 0, unknown.
STANFORD13: dict[str, RGB] = {
    "beam": (255, 0, 40),
    "board": (255, 72, 0),
    "bookcase": (255, 185, 0),
    "ceiling": (205, 255, 0),
    "chair": (91, 255, 0),
    "clutter": (0, 255, 21),
    "column": (0, 255, 139),
    "door": (0, 255, 252),
    "floor": (0, 143, 255),
    "sofa": (0, 23, 255),
    "table": (90, 0, 255),
    "wall": (204, 0, 255),
    "window": (255, 0, 191),
}
_NOT_IN_STANFORD8 = ("beam", "board", "bookcase", "clutter", "column")
STANFORD8 = {name: color for name, color in STANFORD13.items() if name not in _NOT_IN_STANFORD8}

# Names as SynPASS writes them ("GroundRail" is its guard rail), in the colours of the CARLA simulator, of which the ids
# are. Id 0 is in the files, is never a class, and is ignored where they are read.
SYNPASS23: dict[str, RGB] = {
    "Unlabeled": (0, 0, 0),
    "Building": (70, 70, 70),
    "Fence": (100, 40, 40),
    "Other": (55, 90, 80),
    "Pedestrian": (220, 20, 60),
    "Pole": (153, 153, 153),
    "RoadLine": (157, 234, 50),
    "Road": (128, 64, 128),
    "SideWalk": (244, 35, 232),
    "Vegetation": (107, 142, 35),
    "Vehicles": (0, 0, 142),
    "Wall": (102, 102, 156),
    "TrafficSign": (220, 220, 0),
    "Sky": (70, 130, 180),
    "Ground": (81, 0, 81),
    "Bridge": (150, 100, 100),
    "RailTrack": (230, 150, 140),
    "GroundRail": (180, 165, 180),
    "TrafficLight": (250, 170, 30),
    "Static": (110, 190, 160),
    "Dynamic": (170, 120, 50),
    "Water": (45, 60, 150),
    "Terrain": (145, 170, 100),
}

CLASS_COLORS = {
    "cityscapes19": CITYSCAPES,
    "densepass13": DENSEPASS13,
    "wildpass8": WILDPASS8,
    "stanford13": STANFORD13,
    "stanford8": STANFORD8,
    "synpass23": SYNPASS23,
}
"""Name of a label set -> class -> RGB, 0..255."""
