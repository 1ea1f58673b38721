"""Between the pixels of an image and the numbers of x: how much the encoder amplifies each channel.

With J the encoder's Jacobian, d x = J d image. A step of x becomes one of the image by J^T (J J^T)^-1 dx, and white
noise of pixels becomes noise of x with the covariance J J^T. Of J J^T only the mean of its diagonal in each channel is
taken: exact where the rows of J are orthogonal, as they are in the bundled teachers' autoencoders. There are fewer
numbers in x than in an image: what J does not see of it is image - J^T (J J^T)^-1 J image.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Encode = Callable[[torch.Tensor], torch.Tensor]

# Images of random signs behind a gain.
_PROBES = 4
# The largest error, as a share, with which an encoder still counts as linear: 16-bit numbers make some.
_ALMOST = 0.02


class Whitening:
    """The gains of an encoder, measured at grey images of ``size`` pixels, and whether it is linear.

    gains: (c, 1, 1), the mean of J J^T's diagonal in each channel of x. edge: pixels along an edge of x.
    encode: (B, C, S, S) in [0, 1] to (B, c, h, w).
    """

    def __init__(self, encode: Encode, channels: int, size: int, device: torch.device) -> None:
        """channels: C, of the images."""
        self._encode = encode
        generator = torch.Generator().manual_seed(0)
        grey = torch.full((1, channels, size, size), 0.5, device=device)
        self.gains, self.edge, self._touched = _gains(encode, grey, generator)
        one, other = (torch.rand(grey.shape, generator=generator).to(device) for _ in range(2))
        with torch.no_grad():
            ends = (encode(one) + encode(other)) / 2
            error = (encode((one + other) / 2) - ends).norm() / (ends - encode(grey)).norm()
        self.linear = float(error) < _ALMOST

    @torch.no_grad()
    def white(self, noise: torch.Tensor) -> torch.Tensor:
        """(B, c, h, w) standard normal noise of x from (B, C, S, S) standard normal ``noise`` of pixels.

        Only for a linear encoder. What moves in the pixels moves in x as the picture of it would.
        """
        return (self._encode(noise) - self._encode(torch.zeros_like(noise[:1]))) / self.gains.sqrt()

    def hidden(self, images: torch.Tensor) -> torch.Tensor:
        """What of the (B, C, S, S) ``images`` is not in their x, and so nothing that is done to x can change.

        Only for a linear encoder. Channels that it does not look at at all are somebody else's: 0 there.
        """
        leaf = images.detach().requires_grad_()
        with torch.enable_grad():
            x = self._encode(leaf)
        seen = x.detach() - self._encode(torch.zeros_like(leaf[:1])).detach()
        return (images - torch.autograd.grad(x, leaf, seen / self.gains)[0]) * self._touched


def _gains(encode: Encode, image: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, int, torch.Tensor]:
    """The gains by Hutchinson's estimate, the edge of x, and which channels of an image (C, 1, 1) x depends on.

    For u of random signs in one channel the gain is the expectation of |J^T u|^2 / |u|^2.
    """
    leaf = image.requires_grad_()
    x = encode(leaf)
    sums, touched = torch.zeros(x.shape[1], device=x.device), torch.zeros_like(leaf[0, :, :1, :1])
    for channel in torch.arange(x.shape[1]).repeat(_PROBES):
        signs = torch.zeros_like(x)
        signs[:, channel] = torch.randint(2, x[:, channel].shape, generator=generator).to(x) * 2 - 1
        back = torch.autograd.grad(x, leaf, signs, retain_graph=True)[0]
        sums[channel] += back.square().sum() / signs.square().sum()
        touched += back[0].abs().amax((1, 2), keepdim=True)
    return (sums / _PROBES)[:, None, None], x.shape[-1], (touched > 0).float()
