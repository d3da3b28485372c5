"""Errors in what a user asks for. Any other exception is a bug in this code."""

from __future__ import annotations


class InputError(ValueError):
    """An error in the input. The message says what must hold, what came, and how to fix it."""


class ParameterError(InputError):
    """An impossible value of a parameter.

    Attributes:
        name: The parameter's name.
        requirement: The message after the name: what must hold, and what came.
    """

    def __init__(self, name: str, requirement: str) -> None:
        super().__init__(f"{name} {requirement}")
        self.name, self.requirement = name, requirement

    def __reduce__(self) -> tuple[type[ParameterError], tuple[str, str]]:
        """Return the class and its arguments, so that the error can be pickled."""
        return type(self), (self.name, self.requirement)


class UnknownNameError(ParameterError):
    """A name that a table of parts does not have."""
