"""Reports: the trials of a sweep's folder in numbers and figures. This package does not know Ray."""

from betavae.report.traversals import latent_traversal

__all__ = ["latent_traversal"]
