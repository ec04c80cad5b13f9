"""Figures of a classifier's scores."""

import math


def auc(scores: list[float], labels: list[int]) -> float:
    """The area under the ROC curve: how often a positive scores above a negative, ties counting half."""
    order = sorted(range(len(scores)), key=scores.__getitem__)
    ranks = [0.0] * len(scores)
    at = 0
    while at < len(order):
        end = at
        while end < len(order) and scores[order[end]] == scores[order[at]]:
            end += 1
        for place in order[at:end]:
            ranks[place] = (at + end + 1) / 2
        at = end
    positives = sum(labels)
    negatives = len(labels) - positives
    above = sum(rank for rank, label in zip(ranks, labels, strict=True) if label) - positives * (positives + 1) / 2
    return above / (positives * negatives) if positives and negatives else math.nan


def recall_at(scores: list[float], labels: list[int], share: float) -> float:
    """The share of positives that score above all but `share` of the negatives."""
    wrong = sorted((score for score, label in zip(scores, labels, strict=True) if not label), reverse=True)
    right = [score for score, label in zip(scores, labels, strict=True) if label]
    line = wrong[min(int(len(wrong) * share), len(wrong) - 1)]
    return sum(score > line for score in right) / len(right)


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of a share at 95 % (Wilson 1927)."""
    if of == 0:
        return 0.0, 1.0
    share = hits / of
    middle = share + z * z / (2 * of)
    spread = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (middle - spread) / (1 + z * z / of), (middle + spread) / (1 + z * z / of)
