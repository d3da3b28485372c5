"""Errors of what a user asks for; every other exception is a bug of this code."""

from __future__ import annotations


class InputError(ValueError):
    """Something that a user can get wrong: the message says what must hold, what came, and how to fix it."""


class ParameterError(InputError):
    """A parameter whose value is impossible.

    Attributes:
        name: The parameter's.
        requirement: What must hold and what came, without the name.
    """

    def __init__(self, name: str, requirement: str) -> None:
        super().__init__(f"{name} {requirement}")
        self.name, self.requirement = name, requirement

    def __reduce__(self) -> tuple[type[ParameterError], tuple[str, str]]:
        """Pickle by the arguments, as Ray does with the error of a trial."""
        return type(self), (self.name, self.requirement)


class UnknownNameError(ParameterError):
    """The name of a part that its table does not have."""
