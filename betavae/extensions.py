"""stub"""


def load_extensions() -> None: ...
def extension_names() -> tuple[str, ...]:
    return ()
