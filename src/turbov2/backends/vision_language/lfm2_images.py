"""LFM2-VL's image input: one tile for a small image; a grid of tiles and an overview for a large one.

The library's own class for this needs torchvision, which fits exactly one build of torch. These are the same
numbers, bit for bit, by torch alone: tests/integration/test_lfm2_images.py holds the library's. What is done,
and what the settings are called: transformers, models/lfm2_vl/image_processing_lfm2_vl.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import torch
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature
from transformers.processing_utils import ImagesKwargs

from turbov2.errors import LoadFailed

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

_MODES = {2: "bilinear", 3: "bicubic"}  # by Pillow's numbers
_Three = tuple[float, float, float]


class Lfm2ImageSettings(msgspec.Struct, frozen=True):
    """What a checkpoint says of its images. Other keys of the file play no part in the library either."""

    downsample_factor: int = 2
    do_image_splitting: bool = True
    min_tiles: int = 2
    max_tiles: int = 10
    use_thumbnail: bool = True
    min_image_tokens: int = 64
    max_image_tokens: int = 256
    encoder_patch_size: int = 16
    tile_size: int = 512
    max_pixels_tolerance: float = 2.0
    resample: Literal[2, 3] = 2
    rescale_factor: float = 1 / 255
    image_mean: _Three = (0.5, 0.5, 0.5)
    image_std: _Three = (0.5, 0.5, 0.5)
    do_rescale: Literal[True] = True
    do_normalize: Literal[True] = True
    do_pad: Literal[True] = True


class Cut(NamedTuple):
    """One image's tiles, `[3, h, w]` uint8, the overview last.

    overview_px: height and width of the overview, or of the one tile where it is not cut.
    """

    tiles: list[torch.Tensor]
    n_rows: int
    n_columns: int
    overview_px: tuple[int, int]


class Lfm2ImagesKwargs(ImagesKwargs, total=False):  # type: ignore[call-arg, misc]
    """What the library's processor passes along."""

    return_row_col_info: bool


class Lfm2Images(BaseImageProcessor):  # type: ignore[misc]  # the library is not checked
    """Stands in for the library's Lfm2VlImageProcessor inside its Lfm2VlProcessor."""

    valid_kwargs = Lfm2ImagesKwargs
    model_input_names = ["pixel_values", "pixel_attention_mask", "spatial_shapes"]  # noqa: RUF012

    def __init__(self, settings: Lfm2ImageSettings) -> None:
        super().__init__()
        self._settings = settings
        self._unit_px = (
            settings.encoder_patch_size * settings.downsample_factor
        )  # a side of what is one token
        self._token_px = self._unit_px**2
        # What the library's processor reads to count tokens.
        self.tile_size = settings.tile_size
        self.downsample_factor = settings.downsample_factor
        self.encoder_patch_size = settings.encoder_patch_size
        self.use_thumbnail = settings.use_thumbnail

    def __call__(self, images: Sequence[Sequence[Pixels]], **_: Any) -> BatchFeature:
        """Returns the model's input of uint8 `[h, w, 3]` images.

        pixel_values: `[tiles, patches, 3 * patch_px ** 2]` float32, padded with zeros; pixel_attention_mask:
        `[tiles, patches]` int32; spatial_shapes: `[tiles, 2]` int64, a tile's patches down and across. Of
        each image also rows, columns and overview size.
        """
        cuts = [self.cut(image) for each in images for image in each]
        patches = [self._patches(tile) for cut in cuts for tile in cut.tiles]
        # The overview of a very narrow strip passes the limit of tokens, on which the library fails.
        n_patches = max(self._n_patches(), *(len(tile) for tile, _ in patches))
        values = torch.zeros((len(patches), n_patches, patches[0][0].shape[1]))
        mask = torch.zeros((len(patches), n_patches), dtype=torch.int32)
        for row, (tile, _shape) in enumerate(patches):
            values[row, : len(tile)] = tile
            mask[row, : len(tile)] = 1
        return BatchFeature(
            {
                "pixel_values": values,
                "pixel_attention_mask": mask,
                "spatial_shapes": torch.tensor([shape for _, shape in patches]),
                "image_rows": [cut.n_rows for cut in cuts],
                "image_cols": [cut.n_columns for cut in cuts],
                "image_sizes": [list(cut.overview_px) for cut in cuts],
            }
        )

    def cut(self, image: Pixels) -> Cut:
        """Returns the tiles of one image."""
        height, width = image.shape[:2]
        pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous()
        overview_px = self._overview_px(height, width)
        n_columns, n_rows = self._grid(height, width)
        if n_columns * n_rows == 1:
            return Cut([self._resized(pixels, *overview_px)], 1, 1, overview_px)
        side = self.tile_size
        whole = self._resized(pixels, n_rows * side, n_columns * side)
        tiles = [tile for row in whole.split(side, 1) for tile in row.split(side, 2)]
        if self.use_thumbnail:
            tiles.append(self._resized(pixels, *overview_px))
        return Cut(tiles, n_rows, n_columns, overview_px)

    def _overview_px(self, height: int, width: int) -> tuple[int, int]:
        """Returns the size, in whole tokens, that keeps the shape and the limits of tokens."""
        unit = self._unit_px
        least_px = self._settings.min_image_tokens * self._token_px
        most_px = self._settings.max_image_tokens * self._token_px
        rounded = [max(unit, round(side / unit) * unit) for side in (height, width)]
        if math.prod(rounded) > most_px:
            shrink = math.sqrt(height * width / most_px)
            rounded = [max(unit, math.floor(side / shrink / unit) * unit) for side in (height, width)]
        elif math.prod(rounded) < least_px:
            grow = math.sqrt(least_px / (height * width))
            rounded = [math.ceil(side * grow / unit) * unit for side in (height, width)]
        return rounded[0], rounded[1]

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        """Returns how many tiles across and down; 1, 1 for an image that is not cut.

        Of equally good shapes the one with more tiles is taken if the image has pixels for half of them.
        """
        if not self._is_cut(height, width):
            return 1, 1
        best, least_off = (1, 1), math.inf
        for columns, rows in self._grids():
            off = abs(width / height - columns / rows)
            has_pixels = height * width > 0.5 * self.tile_size**2 * columns * rows
            if off < least_off or (off == least_off and has_pixels):
                best, least_off = (columns, rows), off
        return best

    def _is_cut(self, height: int, width: int) -> bool:
        settings, unit = self._settings, self._unit_px
        if not settings.do_image_splitting or settings.min_tiles == settings.max_tiles == 1:
            return False
        sides = [max(settings.encoder_patch_size, round(side / unit) * unit) for side in (height, width)]
        return math.prod(sides) > settings.max_image_tokens * self._token_px * settings.max_pixels_tolerance

    def _grids(self) -> list[tuple[int, int]]:
        """Returns all shapes of a grid, fewest tiles first; of as many, in the library's order of a set."""
        least, most = self._settings.min_tiles, self._settings.max_tiles
        return sorted(set(_pairs(least, most)), key=math.prod)

    def _resized(self, pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Returns uint8 `[3, height, width]`, as torchvision resizes."""
        if pixels.shape[1:] == (height, width):
            return pixels
        mode = _MODES[self._settings.resample]
        # Without these instructions torch has no way of its own for bytes, and torchvision goes by floats.
        is_native = mode == "bicubic" or torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
        source = pixels[None] if is_native else pixels[None].float()
        resized = torch.nn.functional.interpolate(
            source, size=(height, width), mode=mode, align_corners=False, antialias=True
        )
        return (resized if is_native else resized.round_().to(torch.uint8))[0]

    def _patches(self, tile: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """Returns the tile's patches, `[n, 3 * patch_px ** 2]` float32, and how many are down and across."""
        patch_px = self.encoder_patch_size
        scale = 1 / self._settings.rescale_factor
        mean, std = (
            (torch.tensor(each) * scale)[:, None, None]
            for each in (self._settings.image_mean, self._settings.image_std)
        )
        values = (tile.float() - mean) / std
        n_down, n_across = tile.shape[1] // patch_px, tile.shape[2] // patch_px
        cells = values.reshape(3, n_down, patch_px, n_across, patch_px).permute(1, 3, 2, 4, 0)
        return cells.reshape(n_down * n_across, -1), (n_down, n_across)

    def _n_patches(self) -> int:
        settings = self._settings
        n_overview = settings.max_image_tokens * settings.downsample_factor**2
        n_tile = (settings.tile_size // settings.encoder_patch_size) ** 2
        return max(n_overview, n_tile if settings.do_image_splitting else 0)


def read_settings(files: dict[str, bytes]) -> Lfm2ImageSettings:
    """Returns a checkpoint's settings, the newer file's where both have some.

    files: content by name. Raises: LoadFailed when there are none, or some that are not built here.
    """
    try:
        for name in ("processor_config.json", "preprocessor_config.json"):
            found: dict[str, Any] = msgspec.json.decode(files[name]) if name in files else {}
            fields = found.get("image_processor") if name == "processor_config.json" else found
            if fields:
                return msgspec.convert(fields, Lfm2ImageSettings)
    except msgspec.MsgspecError as error:
        raise LoadFailed(f"the settings of images in {name} are not built here: {error}") from error
    raise LoadFailed("the model folder has no processor_config.json or preprocessor_config.json")


def _pairs(least: int, most: int) -> Iterator[tuple[int, int]]:
    for n_tiles in range(least, most + 1):
        for columns in range(1, n_tiles + 1):
            for rows in range(1, n_tiles + 1):
                if least <= columns * rows <= most:
                    yield columns, rows
