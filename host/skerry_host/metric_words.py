"""How values of a model's metric are written for people: shares in percent, others with their unit. Rates nothing."""


def in_its_unit(value: float, unit: str, digits: int = 2) -> str:
    """A value of a metric; one without a unit is a share of 1."""
    return f"{value:.4g} {unit}" if unit else f"{value:.{digits}%}"
