"""ControlNet condition images from a G-buffer: depth, and canny edges of the normal map.

Condition images are (3, size, size) float32 in [0, 1], row 0 at the top, background 0, three equal channels.
Both are made per view, never per batch, from the same G-buffer that the colours are rendered with.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .gbuffer import GBuffer

# Canny's thresholds on the L1 gradient of an 8-bit image, as in the texturing systems built on ControlNet 1.1.
CANNY_LOW, CANNY_HIGH = 50, 100


def depth_image(gbuffer: GBuffer) -> torch.Tensor:
    """Linear depth of the foreground, nearest 1 and farthest 0.1, blended to background 0 by coverage.

    Normalised per image over the foreground; a surface at one single depth is 1 everywhere.
    """
    if len(gbuffer.depth) == 0:
        return gbuffer.coverage.new_zeros(3, gbuffer.size, gbuffer.size)
    near, far = gbuffer.depth.min(), gbuffer.depth.max()
    span = far - near
    share = torch.where(span > 0, (far - gbuffer.depth) / span.clamp(min=1e-12), torch.ones_like(gbuffer.depth))
    image = gbuffer.resolve((0.1 + 0.9 * share)[:, None])
    return image.permute(2, 0, 1).expand(3, -1, -1).contiguous()


def canny_image(gbuffer: GBuffer) -> torch.Tensor:
    """Edges (0 or 1) of the world-space normal map ``n / 2 + 1 / 2``, background 0, antialiased by coverage."""
    normals = gbuffer.resolve(gbuffer.normal * 0.5 + 0.5)
    edges = canny((normals * 255).round().permute(2, 0, 1))
    return edges.float().expand(3, -1, -1).contiguous()


def canny(image: torch.Tensor) -> torch.Tensor:
    """Canny's detector after a 5 x 5 box blur: (C, H, W) float in 0..255 to (H, W) bool.

    OpenCV's semantics: 3 x 3 Sobel, strongest channel per pixel, L1 magnitude, non-maximum suppression along
    the gradient quantised to four directions, hysteresis between ``CANNY_LOW`` and ``CANNY_HIGH``.
    """
    blurred = F.avg_pool2d(F.pad(image[None], (2, 2, 2, 2), mode="replicate"), 5, stride=1).round()[0]
    gx, gy = _sobel(blurred)
    strongest = (gx.abs() + gy.abs()).argmax(0, keepdim=True)
    gx, gy = gx.gather(0, strongest)[0], gy.gather(0, strongest)[0]
    magnitude = gx.abs() + gy.abs()
    candidate = _is_ridge(magnitude, gx, gy) & (magnitude > CANNY_LOW)
    return _hysteresis(candidate, candidate & (magnitude > CANNY_HIGH))


def _sobel(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x and y derivative, each (C, H, W), border replicated."""
    kernel = image.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    padded = F.pad(image[:, None], (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernel[None, None])[:, 0], F.conv2d(padded, kernel.T[None, None])[:, 0]


def _is_ridge(magnitude: torch.Tensor, gx: torch.Tensor, gy: torch.Tensor) -> torch.Tensor:
    """(H, W) bool: larger than the neighbour before and not smaller than the one after, along the gradient."""
    padded = F.pad(magnitude[None, None], (1, 1, 1, 1))[0, 0]
    height, width = magnitude.shape

    def neighbour(dy: int, dx: int) -> torch.Tensor:
        return padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]

    tan_22 = 0.41421356
    flat, steep = gy.abs() <= tan_22 * gx.abs(), gx.abs() <= tan_22 * gy.abs()
    rising = (gx * gy) > 0
    before = torch.where(flat, neighbour(0, -1), torch.where(steep, neighbour(-1, 0),
             torch.where(rising, neighbour(-1, -1), neighbour(-1, 1))))  # fmt: skip
    after = torch.where(flat, neighbour(0, 1), torch.where(steep, neighbour(1, 0),
            torch.where(rising, neighbour(1, 1), neighbour(1, -1))))  # fmt: skip
    return (magnitude > before) & (magnitude >= after)


def _hysteresis(candidate: torch.Tensor, strong: torch.Tensor) -> torch.Tensor:
    """Grow ``strong`` through 8-connected ``candidate`` pixels until nothing changes."""
    while True:
        grown = F.max_pool2d(strong[None, None].float(), 3, stride=1, padding=1)[0, 0] > 0
        grown &= candidate
        if torch.equal(grown, strong):
            return strong
        strong = grown
