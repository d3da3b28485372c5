"""What a sweep's folder says: its trials, in numbers and pictures. Knows nothing of Ray."""

from betavae.report.traversals import latent_traversal

__all__ = ["latent_traversal"]
