import numpy as np
import pytest

from betavae.report.rotation import best_rotation


def grid_codes(degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Two factors of eight values each, every pair 20 times, and a code that is turned against them, beside noise."""
    factors = (
        np.stack(np.meshgrid(np.arange(8), np.arange(8), indexing="ij"), axis=-1).reshape(-1, 2).repeat(20, axis=0)
    )
    generator = np.random.default_rng(0)
    position = factors - 3.5 + generator.normal(0, 0.02, factors.shape)
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = position @ np.array([[cosine, sine], [-sine, cosine]])
    noise = generator.normal(size=(len(factors), 1))
    # the second latent is the larger, and they are neither next to each other nor first
    return np.hstack([turned[:, :1], noise, 5 * turned[:, 1:]]).astype(np.float32), factors


@pytest.mark.parametrize("degrees", [-40, -10, 0, 5, 30])
def test_the_turn_is_found_and_undone(degrees: float) -> None:
    codes, factors = grid_codes(degrees)
    found = best_rotation(codes, factors, columns=(0, 1))
    assert set(found.latents) == {0, 2}
    sign = 1 if found.latents == (0, 2) else -1
    assert abs(sign * found.degrees + degrees) <= 2  # the code's noise blurs the best angle
    straight = best_rotation(*grid_codes(0), columns=(0, 1)).score
    assert found.rotated_score == pytest.approx(straight, abs=0.02)
    assert degrees == 0 or found.score < found.rotated_score - 0.1


def test_what_another_factor_would_gain_does_not_count() -> None:
    """Two latents that lie along two factors, and at 45 degrees to a third, are left as they are."""
    codes, factors = grid_codes(0)
    third = (factors.sum(1) > 7).astype(int)
    found = best_rotation(codes, np.column_stack([factors, third]), columns=(0, 1))
    assert found.degrees == 0
    assert found.rotated_score == pytest.approx(found.score, abs=0.01)


def test_one_latent_cannot_be_turned() -> None:
    with pytest.raises(ValueError, match="two latents"):
        best_rotation(np.zeros((4, 1)), np.zeros((4, 2), int), columns=(0, 1))
