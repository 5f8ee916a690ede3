"""The classifier's network: a small residual network that sees where on a page the HIGH content is.

Input `[n, 1, h, w]` float32, ink: 0 for white paper, 1 for black; h and w multiples of 32. Output: the
page's logit `[n]`, above 0 for HIGH, and for training a map of logits `[n, h / 32, w / 32]`, above 0 where
a cell holds HIGH content. Residual blocks as in He et al. 2015 (arXiv 1512.03385); plain 3x3 convolutions
because they quantise well to 8 bits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (32, 64, 128, 256)
BLOCKS = (1, 2, 2, 2)
STEM = 24


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(n_in, n_out, stride)
        self.second = _convolution(n_out, n_out, 1)
        self.around = nn.Identity() if stride == 1 and n_in == n_out else _convolution(n_in, n_out, stride, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns `[n, n_out, h / stride, w / stride]`."""
        return functional.relu(self.around(x) + self.second(functional.relu(self.first(x))))


class PageNetwork(nn.Module):
    """See the module. 32 pixels of the input become one cell."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(1, STEM, 2), nn.ReLU()]
        n_in = STEM
        for width, n_blocks in zip(WIDTHS, BLOCKS, strict=True):
            for index in range(n_blocks):
                layers.append(Block(n_in, width, 2 if index == 0 else 1))
                n_in = width
        self.body = nn.Sequential(*layers)
        self.cells = nn.Conv2d(n_in, 1, 1)
        self.drop = nn.Dropout(0.2)
        # The mean says how much of the page, the maximum whether at all.
        self.page = nn.Linear(2 * n_in, 1)

    def forward(self, ink: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the page's logit `[n]` and its cells' logits `[n, h / 32, w / 32]`."""
        features = self.body(ink)
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
        return self.page(self.drop(pooled))[:, 0], self.cells(features)[:, 0]


def _convolution(n_in: int, n_out: int, stride: int, size: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, size, stride, size // 2, bias=False), nn.BatchNorm2d(n_out))
