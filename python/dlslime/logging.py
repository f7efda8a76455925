# SPDX-License-Identifier: BSD-3-Clause
"""The loggers of the package: "slime" and those below it."""

import logging as _logging

_FORMAT = "%(asctime)s %(levelname)s [%(name)s] %(message)s"
_logging.getLogger("slime").addHandler(_logging.NullHandler())


def get_logger(name=None):
    """The logger "slime", or the one of this name below it."""
    if not name:
        name = "slime"
    elif name != "slime" and not name.startswith("slime."):
        name = "slime." + name
    return _logging.getLogger(name)


def set_log_level(level, *, logger_name="slime", configure_handler=True):
    """Set the level; if nothing is attached yet, attach a handler that writes to stderr."""
    logger = get_logger(logger_name)
    logger.setLevel(level)
    if configure_handler and all(isinstance(h, _logging.NullHandler) for h in logger.handlers):
        handler = _logging.StreamHandler()
        handler.setFormatter(_logging.Formatter(_FORMAT))
        logger.addHandler(handler)
    return logger
