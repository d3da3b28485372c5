"""Scores as public code commonly takes them: a Python loop over points, factors or latents, to compare with."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

NUM_TRAIN, NUM_TEST, BATCH_SIZE = 10_000, 5_000, 64


def rows_by_value(factors: np.ndarray) -> list[dict[int, np.ndarray]]:
    """Return the rows of each value of each factor."""
    return [{value: np.flatnonzero(column == value) for value in np.unique(column)} for column in factors.T]


def plain_beta_vae_score(codes: np.ndarray, factors: np.ndarray) -> float:
    """Return the BetaVAE score, point by point."""
    generator, rows_of = np.random.default_rng(0), rows_by_value(factors)
    features, labels = [], []
    for _ in range(NUM_TRAIN + NUM_TEST):
        factor = generator.integers(factors.shape[1])
        first = generator.integers(len(codes), size=BATCH_SIZE)
        second = [generator.choice(rows_of[factor][factors[row, factor]]) for row in first]
        features.append(np.abs(codes[first] - codes[second]).mean(axis=0))
        labels.append(factor)
    classifier = LogisticRegression().fit(features[:NUM_TRAIN], labels[:NUM_TRAIN])
    return float(classifier.score(features[NUM_TRAIN:], labels[NUM_TRAIN:]))


def plain_factor_vae_score(codes: np.ndarray, factors: np.ndarray) -> float:
    """Return the FactorVAE score, point by point, without latents whose standard deviation is below 0.05."""
    generator, rows_of = np.random.default_rng(0), rows_by_value(factors)
    kept = codes[:, codes.std(axis=0, ddof=1) >= 0.05]
    variances = kept.var(axis=0, ddof=1)
    votes = np.zeros((2, kept.shape[1], factors.shape[1]))
    for point in range(NUM_TRAIN + NUM_TEST):
        factor = generator.integers(factors.shape[1])
        row = generator.integers(len(kept))
        rows = generator.choice(rows_of[factor][factors[row, factor]], size=BATCH_SIZE)
        votes[int(point >= NUM_TRAIN), (kept[rows].var(axis=0, ddof=1) / variances).argmin(), factor] += 1
    named = votes[0].argmax(axis=1)
    return float(votes[1][np.arange(len(named)), named].sum() / NUM_TEST)


def plain_importance(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return DCI's importance matrix, factor by factor."""
    columns = [
        GradientBoostingClassifier(random_state=0).fit(codes, values).feature_importances_ for values in factors.T
    ]
    return np.stack(columns, axis=1)
