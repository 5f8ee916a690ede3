"""LFM2-VL's image input equals the library's, bit for bit.

The numbers below are those of Lfm2VlImageProcessor of transformers 5.23.0, which resizes with torchvision
0.28.0 (its Python code over torch 2.13.0). Where torchvision can be imported, the two are compared directly
as well. The token counts are those of Lfm2VlProcessor: a US letter page takes 1,788, an A4 page 1,783.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("torch", reason="runs a model: needs torch")
pytest.importorskip("transformers", reason="runs a model: needs transformers")

import msgspec
import torch
from transformers import AutoTokenizer
from transformers.models.lfm2_vl.processing_lfm2_vl import Lfm2VlProcessor

from tests.support.tiny_vision import picture, save_vision_model
from turbov2.backends.vision_language.lfm2_images import Lfm2Images, Lfm2ImageSettings, read_settings
from turbov2.errors import LoadFailed

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "published": {"resample": 3, "min_tiles": 1},  # as the configuration that ships with the weights has it
    "one tile": {"do_image_splitting": False},
    "no overview": {
        "use_thumbnail": False,
        "image_mean": [0.48, 0.45, 0.4],
        "image_std": [0.22, 0.22, 0.23],
    },
}


class Golden(NamedTuple):
    """What the library makes of a picture: rows and columns, the overview's size, tokens, pixel values."""

    settings: str
    size_px: tuple[int, int]
    grid: tuple[int, int]
    overview_px: tuple[int, int]
    n_tokens: int
    mean: float
    crc32: int


GOLDEN = [
    Golden("defaults", (7, 9), (1, 1), (256, 320), 80, -0.268500, 0x5E5A3C7A),
    Golden("defaults", (724, 725), (2, 2), (480, 512), 1264, -0.007884, 0xC54A8317),
    Golden("defaults", (1754, 1240), (3, 2), (608, 416), 1783, -0.007759, 0x4A648DCF),
    Golden("published", (7, 9), (1, 1), (256, 320), 80, -0.268398, 0xA521FD79),
    Golden("published", (512, 512), (1, 1), (512, 512), 256, -0.008825, 0x4FB0B151),
    Golden("published", (724, 725), (2, 2), (480, 512), 1264, -0.007772, 0x4DACE1AE),
    Golden("published", (935, 1210), (2, 3), (448, 576), 1788, -0.008025, 0xB5615CCC),
    Golden("published", (1210, 935), (3, 2), (576, 448), 1788, -0.007960, 0x8D65A7C5),
    Golden("published", (2200, 1700), (3, 2), (576, 448), 1788, -0.007855, 0x477BF642),
    Golden("published", (1754, 1240), (3, 2), (608, 416), 1783, -0.007748, 0x61533DE4),
    Golden("published", (200, 3000), (1, 10), (128, 1952), 2804, -0.008200, 0x46F4243C),
    Golden("one tile", (1210, 935), (1, 1), (576, 448), 252, -0.007922, 0xC3C62493),
    Golden("no overview", (935, 1210), (2, 3), (448, 576), 1536, 0.232404, 0x9C47762F),
    Golden("no overview", (200, 3000), (1, 10), (128, 1952), 2560, 0.232127, 0xC5ED51E0),
]
_HAS_BYTE_KERNELS = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def images_of(settings: str) -> Lfm2Images:
    return Lfm2Images(msgspec.convert(SETTINGS[settings], Lfm2ImageSettings))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return AutoTokenizer.from_pretrained(
        save_vision_model("lfm2_vl", tmp_path_factory.mktemp("lfm2") / "model"), local_files_only=True
    )


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda each: f"{each.settings} {each.size_px}")
def test_equal_to_the_librarys_numbers(golden: Golden, tokenizer: Any) -> None:
    images = images_of(golden.settings)
    picture_ = picture(*golden.size_px)
    cut = images.cut(picture_)
    assert ((cut.n_rows, cut.n_columns), cut.overview_px) == (golden.grid, golden.overview_px)
    made = Lfm2VlProcessor(images, tokenizer)(images=[[picture_]], text=["<image>"], return_tensors="pt")
    n_tokens = int((made["input_ids"] == tokenizer.convert_tokens_to_ids("<image>")).sum())
    n_downsampled = int((made["spatial_shapes"] // 2).prod(1).sum())
    assert n_tokens == n_downsampled == golden.n_tokens
    values = made["pixel_values"]
    assert float(values.double().mean()) == pytest.approx(golden.mean, abs=2e-4)
    if _HAS_BYTE_KERNELS:
        assert zlib.crc32(values.numpy().tobytes()) == golden.crc32


@pytest.mark.parametrize("settings", SETTINGS)
def test_equal_to_the_library_itself(settings: str) -> None:
    pytest.importorskip("torchvision", reason="compares with the library: needs torchvision")
    from transformers.models.lfm2_vl.image_processing_lfm2_vl import Lfm2VlImageProcessor

    library, ours = Lfm2VlImageProcessor(**SETTINGS[settings]), images_of(settings)
    for size in [(8, 8), (640, 480), (1400, 1000), (3000, 150)]:
        wanted = library([[picture(*size)]], return_tensors="pt")
        made = ours([[picture(*size)]])
        for name in library.model_input_names:
            torch.testing.assert_close(made[name], wanted[name], rtol=0, atol=0)


def test_several_images_lie_one_behind_the_other() -> None:
    images = images_of("defaults")
    sizes = [(300, 200), (900, 1200)]
    alone = [images([[picture(*size)]])["pixel_values"] for size in sizes]
    together = images([[picture(*size) for size in sizes]])
    assert torch.equal(together["pixel_values"], torch.cat(alone))
    assert together["image_rows"] == [1, 2]


def test_a_strip_on_which_the_library_fails() -> None:
    """Its overview passes the limit of patches."""
    made = images_of("defaults")([[picture(20, 20_000)]])
    assert made["pixel_attention_mask"].sum(1).max() > 1024


def test_settings_are_read_where_the_library_reads_them(tmp_path: Path) -> None:
    newer = b'{"image_processor": {"min_tiles": 1, "crop_size": null}, "processor_class": "Lfm2VlProcessor"}'
    older = b'{"min_tiles": 3, "image_processor_type": "Lfm2VlImageProcessorFast"}'
    assert read_settings({"processor_config.json": newer, "preprocessor_config.json": older}).min_tiles == 1
    assert read_settings({"processor_config.json": b"{}", "preprocessor_config.json": older}).min_tiles == 3
    for files in ({}, {"preprocessor_config.json": b'{"resample": 1}'}, {"preprocessor_config.json": b"[]"}):
        with pytest.raises(LoadFailed, match=r"processor_config"):
            read_settings(files)
