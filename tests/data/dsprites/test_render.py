import hashlib
import math
from fractions import Fraction

import numpy as np
import pytest

from betavae.data import DSPRITES_FACTORS
from betavae.data.dsprites.render import RENDERED_FINGERPRINT, fill_polygons, outline, render_positions

Point = tuple[int, int]


def polygon_by_hand(shape: str, scale: float, orientation: float, pos_x: float, pos_y: float) -> list[Point]:
    """One image's vertices in 1/256 px, with no array: straight from the published geometry."""
    if shape == "square":
        points = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
    elif shape == "ellipse":
        points = [(1.33 * math.cos(t), math.sin(t) / 1.33) for t in (2 * math.pi * k / 100 for k in range(100))]
    else:
        points = [
            (
                math.sin(t) ** 3,
                -0.15 - (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 14.5,
            )
            for t in (2 * math.pi * k / 150 for k in range(150))
        ]
    cosine, sine, unit = math.cos(orientation), math.sin(orientation), 9.6 * scale
    return [
        (
            round(256 * (16 + 32 * pos_x + unit * (cosine * u + sine * v))),
            round(256 * (16 + 32 * pos_y + unit * (-sine * u + cosine * v))),
        )
        for u, v in points
    ]


def is_inside(x: int, y: int, polygon: list[Point]) -> bool:
    """Even-odd: count the edges at or left of the point on its own line, in exact rational arithmetic."""
    count = 0
    for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if min(y0, y1) < y <= max(y0, y1):
            count += x0 + Fraction((y - y0) * (x1 - x0), y1 - y0) <= x
    return count % 2 == 1


def unpacked(packed: np.ndarray) -> np.ndarray:
    return np.unpackbits(packed, axis=-1).reshape(*packed.shape[:-1], 64, 64)


def sampled_indices() -> list[int]:
    """Four images of each shape, at sizes, turns and positions drawn once for all."""
    generator = np.random.default_rng(20170601)
    per_shape = DSPRITES_FACTORS.size // 3
    return [shape * per_shape + int(generator.integers(per_shape)) for shape in range(3) for _ in range(4)]


@pytest.mark.parametrize("index", sampled_indices())
def test_images_agree_with_brute_force(index):
    row = DSPRITES_FACTORS.indices_to_factors(np.array([index]))[0]
    shape, scale, orientation, pos_x, pos_y = (
        values[k] for values, k in zip(DSPRITES_FACTORS.values, row, strict=True)
    )
    drawn = unpacked(render_positions(shape, scale=scale, orientation=orientation)[index % 1024])
    polygon = polygon_by_hand(shape, scale, orientation, pos_x, pos_y)
    expected = [[is_inside(256 * c + 128, 256 * r + 128, polygon) for c in range(64)] for r in range(64)]
    np.testing.assert_array_equal(drawn, expected)


def test_centres_on_left_and_bottom_edges_are_in_on_right_and_top_edges_out():
    centre = 256 * np.array([10, 20]) + 128  # edges through the centres of rows and columns 10 and 20
    image = unpacked(fill_polygons(centre[[0, 1, 1, 0]][None], centre[[0, 0, 1, 1]][None]))[0, 0]
    expected = np.zeros((64, 64), dtype=np.uint8)
    expected[11:21, 10:20] = 1
    np.testing.assert_array_equal(image, expected)


def test_direction_of_an_outline_does_not_matter():
    x, y = (256 * (20 + 8 * outline("heart"))).astype(np.int64)
    np.testing.assert_array_equal(fill_polygons(x[None], y[None]), fill_polygons(x[None, ::-1], y[None, ::-1]))


def test_polygon_is_cut_off_at_the_borders():
    x, y = np.array([[-512, 20_000, 20_000, -512]]), np.array([[-512, -512, 20_000, 20_000]])
    assert unpacked(fill_polygons(x, y)).all()


def test_first_image_is_a_square_of_100_pixels():
    image = unpacked(render_positions("square", scale=0.5, orientation=0.0)[0])  # from 16 - 4.8 to 16 + 4.8 px
    assert image.sum() == 100
    assert image[11:21, 11:21].all()


def test_positive_turn_is_counter_clockwise_on_the_screen():
    # The wide ellipse, turned by an eighth: its white pixels rise to the right, so x and downward y fall together.
    row, column = np.nonzero(unpacked(render_positions("ellipse", scale=1.0, orientation=math.pi / 4)[0]))
    assert np.corrcoef(row, column)[0, 1] < -0.4


def test_unknown_shape_is_refused():
    with pytest.raises(ValueError, match="shape must be one of .*'heart'.*, but got 'star'"):
        render_positions("star", scale=1.0, orientation=0.0)


def test_whole_set_has_the_published_fingerprint(rendered):
    # Source: the geometry reproduces 431 published images; this is the SHA-256 of the set drawn from it.
    assert RENDERED_FINGERPRINT == "3a228f4037ef3d42a42588e0e01f1078aa2df13cfa17584e88c95ed9fb5672da"
    assert hashlib.sha256(rendered).hexdigest() == RENDERED_FINGERPRINT


def test_white_pixels_in_all(rendered):
    # The published mean of the official set implies 128,328,862; two pixels are the known difference.
    assert np.bitwise_count(rendered).sum(dtype=np.int64) == 128_328_864


def test_mean_area_of_each_shape(rendered):
    area = np.bitwise_count(rendered).reshape(3, -1).sum(axis=1, dtype=np.int64) / (DSPRITES_FACTORS.size // 3)
    np.testing.assert_allclose(area, [218.15, 171.19, 132.83], rtol=0, atol=0.005)  # as published: two decimals


def test_white_pixels_keep_two_pixels_from_the_borders(rendered):
    union = unpacked(np.bitwise_or.reduce(rendered, axis=0))
    rows, columns = np.nonzero(union)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 61, 2, 61)


def test_first_and_last_orientation_draw_the_same(rendered):
    by_orientation = rendered.reshape(18, 40, 1024, 512)
    np.testing.assert_array_equal(by_orientation[:, 0], by_orientation[:, 39])


def test_number_of_distinct_images(rendered):
    assert len(np.unique(rendered.view("V512"))) == 715_706
