"""Light on what the rays hit: sun with shadows, skylight with occlusion, reflections of the sky, haze."""

from dataclasses import dataclass

import numpy as np

from goodsam.streetworld.cameras import Hits, Tracer
from goodsam.streetworld.mesh import KINDS, Mesh, linear
from goodsam.streetworld.patterns import Surface, noise, octaves
from goodsam.streetworld.scene import Scene, Weather
from goodsam.streetworld.textures import LOOKS

_SUN_COLOR = np.array([1.0, 0.93, 0.82], np.float32)
_NEAR = 2.2
"""Reach of the rays that find how much of the sky a point sees, metres."""


def sun_direction(weather: Weather) -> np.ndarray:
    """Unit vector towards the sun, float32 (3,)."""
    yaw, pitch = np.deg2rad([weather.sun_yaw, weather.sun_elevation])
    sun = [np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)]
    return np.array(sun, np.float32)


def sky(weather: Weather, rays: np.ndarray, clouds: bool = True) -> np.ndarray:
    """Light of the sky from directions (n, 3): float32 (n, 3), linear."""
    up = np.maximum(rays[:, 1], 0.0)
    zenith, horizon = linear(weather.zenith), linear(weather.horizon)
    color = horizon + (zenith - horizon) * ((1 - np.exp(-3.2 * up))[:, None])
    toward = np.clip(rays @ sun_direction(weather), 0, 1)
    glow = (0.35 * toward**24 + 0.12 * toward**4) * (0.25 + 0.3 * weather.sun)
    if not clouds:
        return color + glow[:, None] * _SUN_COLOR
    # Clouds lie on a plane overhead, far off they crowd together and fade into the haze.
    reach = 1 / (up + 0.09)
    shift = np.float32((weather.seed % 1009) * 0.37)
    x, y = rays[:, 0] * reach + shift, rays[:, 2] * reach + shift * 0.61
    layers = ((2.6, 0.9), (1.1, 0.5), (0.47, 0.30), (0.2, 0.17), (0.083, 0.09))
    # Value noise shows its lattice in the sky's perspective: each layer is turned, and pushed by the one before.
    thick, push = np.zeros_like(x), np.zeros_like(x)
    for turn, (wave, weight) in enumerate(layers):
        sine, cosine = np.float32(np.sin(2.4 * turn + 0.5)), np.float32(np.cos(2.4 * turn + 0.5))
        layer = noise(cosine * x - sine * y + push * wave, sine * x + cosine * y - push * wave, wave)
        push = layer * np.float32(0.6)
        thick += layer * weight * np.clip(1.6 - 0.03 * reach / wave, 0, 1)
    share = np.clip((thick + 2.1 * weather.clouds - 1.15) * 1.5, 0, 1)
    share = (share * share * (3 - 2 * share) * np.clip(up * 9, 0.25, 1))[:, None]
    gray = (0.86 - 0.34 * np.clip(thick + weather.clouds - 0.6, 0, 1) * (0.4 + 0.6 * weather.clouds))[:, None]
    cloud = (horizon * 0.35 + 0.62) * gray
    return (color * (1 - share) + cloud * share + glow[:, None] * _SUN_COLOR * (1 - 0.7 * share)).astype(np.float32)


@dataclass(frozen=True)
class _Points:
    """Where n rays end, and what is there."""

    place: np.ndarray
    normal: np.ndarray
    surface: Surface
    kind: np.ndarray


def _points(mesh: Mesh, origin: np.ndarray, rays: np.ndarray, hits: Hits, angle: float) -> _Points:
    corners = mesh.faces[hits.face]
    weights = np.stack([1 - hits.u - hits.v, hits.u, hits.v])
    first, second, third = corners.T
    normal = sum(w[:, None] * mesh.normals[c] for w, c in zip(weights, corners.T, strict=True))
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    facing = np.einsum("ij,ij->i", normal, rays)
    normal = np.where(facing[:, None] > 0, -normal, normal).astype(np.float32)
    uv = weights[0] * mesh.uv[first].T + weights[1] * mesh.uv[second].T + weights[2] * mesh.uv[third].T
    row = mesh.finish[hits.face]
    # A pixel on a surface seen at a slant is long one way and narrow the other: the mean in ratio is used.
    foot = (hits.distance * angle / np.sqrt(np.clip(np.abs(facing), 0.02, 1))).astype(np.float32)
    salt = (mesh.instances[hits.face] * np.float32(0.61803399)) % 1
    moved = uv + np.stack([salt * 61, salt * 37]).astype(np.float32)
    surface = Surface(
        uv, octaves(moved, foot), mesh.colors[row, 0], mesh.colors[row, 1], mesh.params[row].T, foot, salt,
        np.clip(normal[:, 1], 0, 1),
    )  # fmt: skip
    place = origin + rays * hits.distance[:, None]
    return _Points(place.astype(np.float32), normal, surface, mesh.kinds[row])


def _looks(points: _Points) -> tuple[np.ndarray, np.ndarray]:
    color = np.zeros_like(points.place)
    gloss = np.zeros(len(color), np.float32)
    for kind in np.unique(points.kind):
        at = np.flatnonzero(points.kind == kind)
        color[at], gloss[at] = LOOKS[KINDS[kind]](points.surface.where(at))
    return color, gloss


def _sunlight(tracer: Tracer, points: _Points, weather: Weather, jitter: np.ndarray) -> np.ndarray:
    """Share of the sun's disc, times the cosine, at each point: float32 (n,)."""
    sun = sun_direction(weather)
    slant = points.normal @ sun
    leaves = points.kind == KINDS.index("leaves")
    slant = np.where(leaves, 0.35 + 0.65 * slant, slant)  # leaves let light through
    lit = np.flatnonzero(slant > 0)
    spread = 0.0015  # a wider disc would need more than one ray for each pixel
    rays = sun + spread * jitter[lit]
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    start = points.place[lit] + points.normal[lit] * (0.004 + 0.0004 * points.surface.foot[lit, None])
    free = ~tracer.blocked(start, rays.astype(np.float32), 200.0)
    light = np.zeros(len(slant), np.float32)
    light[lit] = slant[lit] * free
    return light


def open_sky(tracer: Tracer, place: np.ndarray, normal: np.ndarray, jitter: np.ndarray) -> np.ndarray:
    """Whether one random ray into the half-space above each point escapes its surroundings: bool (n,)."""
    rays = normal + 0.97 * jitter / np.maximum(np.linalg.norm(jitter, axis=1, keepdims=True), 1e-6)
    rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-6)
    return ~tracer.blocked((place + normal * 0.01).astype(np.float32), rays.astype(np.float32), _NEAR)


def shade(
    scene: Scene,
    tracer: Tracer,
    origin: np.ndarray,
    rays: np.ndarray,
    hits: Hits,
    angle: float,
    rng: np.random.Generator,
    openness: np.ndarray | None = None,
) -> np.ndarray:
    """Light along rays.

    Args:
        origin: of the camera, (3,), metres.
        rays: float32 (n, 3), unit length.
        hits: their first hits.
        angle: what a pixel spans, radians.
        rng: for the sampling of the sun's disc.
        openness: share of the near sky that each point sees, (n,); 1 if not given.
    Returns:
        float32 (n, 3), linear light.
    """
    out = np.empty((len(rays), 3), np.float32)
    missed = hits.face < 0
    weather = scene.weather
    out[missed] = sky(weather, rays[missed])
    at = np.flatnonzero(~missed)
    if len(at) == 0:
        return out
    hit = Hits(hits.face[at], hits.u[at], hits.v[at], hits.distance[at])
    seen = rays[at]
    points = _points(scene.mesh, origin, seen, hit, angle)
    color, gloss = _looks(points)
    above = 0.5 + 0.5 * points.normal[:, 1]
    zenith, horizon = linear(weather.zenith), linear(weather.horizon)
    ambient = 0.55 * zenith + 0.45 * horizon
    gray = 0.4 + 0.45 * weather.clouds
    ambient = ambient * (1 - gray) + gray * ambient.mean()
    bounce = np.array([0.20, 0.19, 0.175], np.float32) * (0.8 + 0.5 * weather.sun)
    light = above[:, None] * ambient * 1.35 + (1 - above)[:, None] * bounce
    if openness is not None:
        light = light * (0.18 + 0.82 * openness[at])[:, None]
    if weather.sun > 0.02:
        jitter = rng.standard_normal((len(at), 3), dtype=np.float32)
        light = light + (_sunlight(tracer, points, weather, jitter) * weather.sun)[:, None] * _SUN_COLOR
    value = color * light + color * np.maximum(-gloss, 0)[:, None] * 1.5
    value += _reflection(weather, seen, points, np.maximum(gloss, 0))
    clear = np.exp(-weather.haze * hit.distance)[:, None]
    out[at] = value * clear + (horizon * 0.8 + 0.1) * (1 - clear)
    return out


def _reflection(weather: Weather, rays: np.ndarray, points: _Points, gloss: np.ndarray) -> np.ndarray:
    """Mirrored sky, growing at grazing angles; towards the ground and the houses opposite it is dark."""
    cosine = -np.einsum("ij,ij->i", rays, points.normal)
    bounced = rays + 2 * cosine[:, None] * points.normal
    share = gloss * (0.25 + 0.75 * (1 - np.clip(cosine, 0, 1)) ** 4)
    opposite = 0.16 + 0.3 * np.clip(bounced[:, 2] * 1.4, -0.4, 0.6) + 0.1 * points.surface.noise[0]
    free = np.clip((bounced[:, 1] - opposite) * 6, 0, 1)[:, None]
    mirrored = sky(weather, bounced, clouds=False) * free + np.array([0.12, 0.11, 0.10], np.float32) * (1 - free)
    return share[:, None] * mirrored
