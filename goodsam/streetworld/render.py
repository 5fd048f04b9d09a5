"""One picture of a scene: labels and instances from the exact centre of each pixel, colours from several samples."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from goodsam.streetworld.cameras import CameraKind, Hits, Tracer, directions, pixel_angle
from goodsam.streetworld.mesh import SKY, SKY_INSTANCE
from goodsam.streetworld.scene import Eye, Scene, stream
from goodsam.streetworld.shading import open_sky, shade

_EXTRA = ((-0.25, 0.25), (0.25, -0.25))
"""Where pixels on an outline are sampled besides their centre, pixels."""


@dataclass(frozen=True)
class Rendered:
    """A picture and its truth."""

    pixels: np.ndarray
    """uint8 (H, W, 3), RGB."""
    labels: np.ndarray
    """uint8 (H, W), ids of densepass13, 255 on the camera's own car."""
    instances: np.ndarray
    """uint16 (H, W); 0 exactly where the label is 255, 1 is the sky."""


def truth(scene: Scene, hits: Hits) -> tuple[np.ndarray, np.ndarray]:
    """Labels uint8 (n,) and instances uint16 (n,) of first hits."""
    sky = hits.face < 0
    labels = np.where(sky, SKY, scene.mesh.labels[hits.face]).astype(np.uint8)
    return labels, np.where(sky, SKY_INSTANCE, scene.mesh.instances[hits.face]).astype(np.uint16)


def render(scene: Scene, camera: CameraKind, size: tuple[int, int]) -> Rendered:
    """Take a picture of `size` (H, W) pixels."""
    tracer, eye = Tracer(scene.mesh), scene.eye
    rng = stream(scene.seed, scene.index, scene.style, camera)
    origin = np.array([eye.x, eye.height, 0], np.float32)
    angle = pixel_angle(camera, size, eye)
    rays = directions(camera, size, eye).reshape(-1, 3)
    hits = tracer.first(origin, rays)
    labels, instances = truth(scene, hits)
    finish = np.where(hits.face >= 0, scene.mesh.finish[hits.face], -1).reshape(size)
    openness = _openness(scene, tracer, origin, rays, hits, finish, rng)
    light = shade(scene, tracer, origin, rays, hits, angle, rng, openness)
    outline = np.flatnonzero(_outline(finish, hits.distance.reshape(size), light.mean(1).reshape(size)))
    total = light[outline]
    for shift in _EXTRA:
        more = directions(camera, size, eye, shift).reshape(-1, 3)[outline]
        total = total + shade(scene, tracer, origin, more, tracer.first(origin, more), angle, rng, openness[outline])
    light[outline] = total / (1 + len(_EXTRA))
    pixels = develop(light.reshape(*size, 3), eye, rng, wraps=camera != "pinhole")
    return Rendered(pixels, labels.reshape(size), instances.reshape(size))


def _outline(finish: np.ndarray, distance: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Pixels beside another surface, a jump in distance or the edge of a shadow or window: bool (H, W)."""
    near = np.minimum(distance, 400.0)
    edge = np.zeros(finish.shape, bool)
    for axis in (0, 1):
        for step in (1, -1):
            other = np.roll(near, step, axis)
            edge |= np.abs(np.roll(light, step, axis) - light) > 0.35 * light
            edge |= (np.roll(finish, step, axis) != finish) | (np.abs(other - near) > 0.05 * near + 0.02)
    # Ground far ahead jumps from row to row without an outline; that is harmless, it is only sampled better.
    return edge


def _openness(
    scene: Scene,
    tracer: Tracer,
    origin: np.ndarray,
    rays: np.ndarray,
    hits: Hits,
    finish: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """How open the near sky is at each pixel, (H * W,): one ray each, averaged within a surface."""
    index = np.flatnonzero((hits.face >= 0) & (hits.distance < 60))
    corners = scene.mesh.faces[hits.face[index], 0]
    normal = scene.mesh.normals[corners]
    facing = np.einsum("ij,ij->i", normal, rays[index]) > 0
    normal = np.where(facing[:, None], -normal, normal)
    place = origin + rays[index] * hits.distance[index, None]
    value, known = np.zeros(len(rays), np.float32), np.zeros(len(rays), np.float32)
    jitter = rng.standard_normal((len(index), 3), dtype=np.float32)
    value[index] = open_sky(tracer, place, normal, jitter)
    known[index] = 1
    # Means over 7x7 pixels that see the same surface, found by shifting.
    total, count = value.reshape(finish.shape), known.reshape(finish.shape)
    for axis in (1, 0):
        base_total, base_count = total.copy(), count.copy()
        for step in (-3, -2, -1, 1, 2, 3):
            same = np.roll(finish, step, axis) == finish
            total += np.roll(base_total, step, axis) * same
            count += np.roll(base_count, step, axis) * same
    return np.where(count > 0, total / np.maximum(count, 1), 1.0).ravel().astype(np.float32)


def develop(light: np.ndarray, eye: Eye, rng: np.random.Generator, wraps: bool) -> np.ndarray:
    """Linear light (H, W, 3) to uint8: automatic exposure, lens blur, white balance, tone curve, sensor noise."""
    # The meter weighs median and mean, so that neither a bright sky nor deep shade decides alone (our choice).
    meter = float(np.median(light.mean(2))) * 0.6 + float(light.mean()) * 0.4
    value = light * np.float32(0.23 * eye.exposure / max(meter, 1e-3))
    value *= np.array([eye.balance, 1, 1 / eye.balance], np.float32)
    value = ndimage.gaussian_filter(
        value, (eye.blur, eye.blur, 0), mode=("nearest", "wrap" if wraps else "nearest", "nearest")
    )
    value = value.mean(2, keepdims=True) * np.float32(0.18) + value * np.float32(0.82)  # the S below adds colour
    curved = value * (1 + value / 4.0) / (1 + value)  # Reinhard's curve, white at 2
    coded = np.clip(curved * 1.12, 0, 1) ** np.float32(1 / 2.2)
    coded = coded - np.float32(0.07) * np.sin(np.float32(2 * np.pi) * coded)  # an S for contrast
    grain = rng.standard_normal(coded.shape, dtype=np.float32) * np.float32(eye.noise) * (1.3 - 0.6 * coded)
    return np.clip(coded * 255 + grain + 0.5, 0, 255).astype(np.uint8)
