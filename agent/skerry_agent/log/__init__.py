"""The agent's log: `info`, `warning` and so on take a sentence and fields, and make one line. Decides nothing.

Fields that are None are left out. Nothing is written before `start` has said where to (`output`), so that commands and
tests that use the same rooms stay silent. Passwords and keys have no place in either sentence or fields.
"""

import logging

from skerry_agent.log.output import Output

_LOG = logging.getLogger("skerry-agent")
_LOG.addHandler(logging.NullHandler())


def debug(sentence: str, **fields: object) -> None:
    """What only helps to find a fault."""
    _say(logging.DEBUG, sentence, fields)


def info(sentence: str, **fields: object) -> None:
    """What happens in the usual course of things."""
    _say(logging.INFO, sentence, fields)


def warning(sentence: str, **fields: object) -> None:
    """What somebody may have to do something about."""
    _say(logging.WARNING, sentence, fields)


def error(sentence: str, **fields: object) -> None:
    """What the agent cannot do its work without."""
    _say(logging.ERROR, sentence, fields)


def say(level: str, sentence: str, **fields: object) -> None:
    """The same with the level by its name."""
    _say(LEVELS[level], sentence, fields)


LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def start(level: str, output: Output | None = None) -> Output:
    """Write lines of this level and above from now on, by default to standard error."""
    output = output or Output()
    stop()
    _LOG.setLevel(LEVELS[level])
    _LOG.propagate = False
    _LOG.addHandler(output)
    return output


def use_level(level: str) -> None:
    """Write lines of this level and above from now on, where any are written."""
    _LOG.setLevel(LEVELS[level])


def turn() -> None:
    """Write what is due of lines that were only counted; call it every second or so."""
    for output in _outputs():
        output.turn()


def stop() -> None:
    """Write what was only counted so far, and nothing from then on."""
    for output in _outputs():
        output.finish()
        _LOG.removeHandler(output)
    _LOG.propagate = True


def _outputs() -> list[Output]:
    return [handler for handler in _LOG.handlers if isinstance(handler, Output)]


def _say(level: int, sentence: str, fields: dict[str, object]) -> None:
    if _LOG.isEnabledFor(level):
        _LOG.log(level, "%s", sentence, extra={"fields": fields})
