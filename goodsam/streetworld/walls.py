"""Walls: plaster, brick, stone, panels, boards, tiles; and facades, walls with windows, doors and shop fronts."""

import numpy as np

from goodsam.streetworld.patterns import Look, Surface, bricks, hashed, line, mix, noise, toned


def wall_color(s: Surface, pattern: np.ndarray, grime: float = 1.0) -> np.ndarray:
    """Reflectance of a wall; pattern: 0 plaster, 1 brick, 2 stone, 3 panel, 4 boards, 5 tile."""
    n = s.noise
    out = toned(s.color, 0.07 * n[0] + 0.08 * n[1] + 0.07 * n[2] + 0.09 * n[3] + 0.10 * n[4])
    mortar = np.array([0.36, 0.34, 0.31], np.float32)
    for which, long, high, joint, vary, rough in (
        (1, 0.25, 0.083, 0.006, 0.30, 0.2), (2, 0.62, 0.31, 0.011, 0.13, 0.2), (3, 2.4, 1.6, 0.012, 0.07, 0.06),
        (4, 4.0, 0.16, 0.007, 0.12, 0.1), (5, 0.3, 0.3, 0.006, 0.10, 0.05),
    ):  # fmt: skip
        at = pattern == which
        if not at.any():
            continue
        part = s.where(at)
        tone, seam = bricks(part, long, high, joint)
        m = part.noise
        value = vary * tone + 0.06 * m[0] + 0.06 * m[1] + rough * (0.3 * m[2] + 0.5 * m[3] + 0.5 * m[4])
        joints = np.broadcast_to(mortar * part.color.mean(1, keepdims=True) * 2.2, part.color.shape)
        out[at] = mix(toned(part.color, value), joints if which in (1, 2, 5) else part.color * 0.4, seam * 0.85)
    # Rain streaks run down, dirt splashes up from the ground.
    streak = np.clip(noise(s.uv[0] + s.salt * 50, s.uv[1] * 0.07, 0.5) - 0.2, 0, 1) * np.clip(1 - s.foot, 0, 1)
    splash = np.clip(0.7 - s.uv[1] + 0.3 * n[1], 0, 1) * (s.uv[1] > -0.2)
    return toned(out, -grime * (0.22 * streak + 0.28 * splash) * (1 - s.level))


def masonry(s: Surface) -> Look:
    """Params: pattern (see `walls.wall_color`)."""
    return wall_color(s, s.params[0]), np.full(len(s.color), 0.02, np.float32)


def facade(s: Surface) -> Look:
    """Windows and doors in a wall. Params: cell, storey (m), width and height of a window (shares), pattern, shop."""
    cell, storey, wide, tall, pattern, shop = s.params
    wall = wall_color(s, pattern)
    i, j = np.floor(s.uv[0] / cell), np.floor(s.uv[1] / storey)
    x, y = (s.uv[0] / cell - i - 0.5) * cell, s.uv[1] - j * storey
    draw = hashed(i, j, np.floor(s.salt * 511))
    ground_floor = j == 0
    shopping = ground_floor & (shop > 0.5)
    door = ground_floor & ~shopping & (hashed(i, np.floor(s.salt * 733)) < 0.22)
    half = np.where(shopping, 0.44, wide / 2) * cell
    half = np.where(door, 0.52, half)
    low = np.where(shopping, 0.45, np.where(door, 0.0, (0.92 - tall) * storey * 0.62))
    high = np.where(shopping, 0.8 * storey, np.where(door, 2.15, low + tall * storey))
    inside = np.minimum(half - np.abs(x), np.minimum(y - low, high - y))
    cover = np.clip(inside / np.maximum(s.foot, 0.004) + 0.5, 0, 1) * (j >= 0)
    frame = np.maximum(line(inside - 0.035, 0.035, s.foot), line(x, 0.03, s.foot) * ~shopping)
    frame = np.maximum(frame, line(y - low - 0.68 * (high - low), 0.025, s.foot) * (draw > 0.4))
    # Glass: a dark room, at times a curtain or blind; the reveal's shadow falls on its upper edge.
    room = 0.012 + 0.03 * draw**3
    blind = (draw > 0.62) & (y > low + (high - low) * hashed(j, i)) & ~shopping
    inner = np.where(blind, 0.16 + 0.22 * hashed(i + 7, j), room) * (
        1 + 0.25 * s.noise[2] + 0.4 * shopping * s.noise[1]
    )
    inner = inner * np.clip(0.45 + (high - y) / 0.5, 0.45, 1)
    warm = np.array([1.0, 0.97, 0.9], np.float32)
    glass = np.broadcast_to(inner[:, None] * warm, wall.shape).astype(np.float32)
    leaf = toned(s.second, -0.25 + 0.12 * s.noise[1] - 0.3 * line(np.abs(x) - 0.25, 0.05, s.foot))
    fill = np.where(door[:, None], leaf, mix(glass, s.second, frame))
    board = shopping & (y > 0.8 * storey) & (y < 0.97 * storey)
    lettering = (
        board & (noise(s.uv[0] * 1.0, np.floor(s.salt * 99) + 0 * y, 0.35) > 0.1) & (np.abs(y - 0.885 * storey) < 0.14)
    )
    hue = np.stack([hashed(np.floor(s.salt * 37) + k) for k in range(3)], 1) * 0.45 + 0.03
    wall = np.where(board[:, None], np.where(lettering[:, None], 0.75 - hue, hue), wall)
    sill = line(y - low + 0.05, 0.05, s.foot) * (np.abs(x) < half + 0.08) * ~door * ~shopping * (j >= 0)
    lintel = line(y - high - 0.09, 0.09, s.foot) * (np.abs(x) < half + 0.12) * (pattern < 2.5) * ~shopping * (j >= 0)
    wall = mix(mix(wall, s.second * 0.9, 0.8 * sill), s.second * 0.8, 0.6 * lintel)
    under = np.clip(1 - (low - 0.1 - y) / 0.12, 0, 1) * (y < low - 0.1) * (np.abs(x) < half + 0.06)
    wall = toned(wall, -0.3 * under)
    gloss = 0.02 + 0.5 * cover * (1 - frame) * ~door * np.where(blind, 0.35, 1)
    return mix(wall, fill, cover), gloss.astype(np.float32)
