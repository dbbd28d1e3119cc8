"""Names that somebody else chose, a class's above all, made fit to be shown."""


def one_line(name: str) -> str:
    """The name without line breaks, escape sequences and other letters that cannot be printed."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())


def shorten(name: str, most: int) -> str:
    """The name on one line, in at most so many letters; what is cut out of its middle is an ellipsis."""
    name = one_line(name)
    if len(name) <= most:
        return name
    tail = (most - 1) // 3
    return f"{name[: most - 1 - tail]}…{name[len(name) - tail :]}"
