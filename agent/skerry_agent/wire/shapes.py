"""Shapes of tensors and samples. Without numpy: the supervisor and the runner's plain path compare them, too."""


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without its axes of length 1, which a sample may lack or have besides."""
    return tuple(n for n in shape if n != 1)
