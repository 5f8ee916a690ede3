"""Drawn pages are known exactly and repeat; worn pages keep their shape and carry boxes along."""

from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from recipes.vl_classifier import degrade as wear  # noqa: E402
from recipes.vl_classifier.rule import label_of  # noqa: E402

SYSTEM_FONTS = Path("/usr/share/fonts")


@pytest.fixture(scope="module")
def draw():
    pytest.importorskip("skia")
    pytest.importorskip("uharfbuzz")
    from recipes.vl_classifier.drawn import draw as drawing
    from recipes.vl_classifier.drawn import fonts
    from recipes.vl_classifier.drawn.layout import Assets

    if not any(family.covers("Aa") for family in fonts.families(SYSTEM_FONTS).values()):
        pytest.skip("no known typeface is installed")
    return lambda number: drawing.draw_page(3, number, Assets(SYSTEM_FONTS, None))


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_page_comes_out_the_same_each_time(draw, number):
    first, second = draw(number), draw(number)
    assert np.array_equal(first.pixels, second.pixels)
    assert first.boxes == second.boxes


@pytest.mark.parametrize("number", range(16))
def test_the_label_follows_the_rule_and_boxes_lie_on_the_page(draw, number):
    page = draw(number)
    assert page.label == label_of(page.boxes) == ("HIGH" if number % 2 else "LOW")
    for _, left, top, right, bottom in page.boxes:
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1


@pytest.fixture(params=["gray", "colour"])
def page(request):
    """White with one black square from (120, 200) to (180, 280)."""
    image = np.full((600, 400) if request.param == "gray" else (600, 400, 3), 255, np.uint8)
    image[200:280, 120:180] = 0
    return image


@pytest.mark.parametrize("degradation", list(wear.PLAIN), ids=lambda function: function.__name__)
def test_a_degradation_keeps_shape_and_type(page, degradation):
    worn = degradation(page, np.random.default_rng(1))
    assert worn.shape == page.shape
    assert worn.dtype == np.uint8


def test_degrade_repeats_itself_for_the_same_seed(page):
    for seed in range(12):
        one, other = (wear.degrade(page, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(one, other)
        assert one.shape == page.shape


@pytest.mark.parametrize("degradation", list(wear.GEOMETRIC), ids=lambda function: function.__name__)
def test_boxes_go_where_the_pixels_go(page, degradation):
    worn, matrix = degradation(page, np.random.default_rng(4))
    box = ("figure", 120 / 400, 200 / 600, 180 / 400, 280 / 600)
    kind, left, top, right, bottom = wear.mapped_box(box, matrix, page.shape)
    gray = worn if worn.ndim == 2 else worn[:, :, 1]
    inside = gray[round(top * 600) : round(bottom * 600), round(left * 400) : round(right * 400)]
    centre = gray[round((top + bottom) * 300), round((left + right) * 200)]
    assert kind == "figure"
    assert centre < 40
    # All of the square, and little else, lies in the new box.
    assert 0.7 < (inside < 60).mean() <= 1.0


@pytest.mark.parametrize("name", sorted(wear.NAMED))
def test_named_degradations_are_fixed(page, name):
    one, matrix = wear.named(page, name)
    assert np.array_equal(one, wear.named(page, name)[0])
    assert one.shape == page.shape
    assert matrix.shape == (3, 3)


def test_an_unmoved_box_stays():
    box = ("map", 0.1, 0.2, 0.3, 0.4)
    assert wear.mapped_box(box, np.eye(3), (500, 300))[1:] == pytest.approx(box[1:])
