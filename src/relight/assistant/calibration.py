"""From how near a message lies to how likely it is in scope: constants for each embedder, fitted by `bench/modes.py`. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class Calibration(Struct, frozen=True):
    """From similarities to probabilities: logistic in the distance to the rest of the world, softmax over the modes.

    Fitted to the development messages of `examples/portfolio` (`fitted` in bench/modes.py), so that at 0.5 a message is about as
    likely in scope as out of it, were both as frequent; doubt is decided for the message.
    """

    middle: float
    slope: float
    sharpness: float


CALIBRATIONS: Final = {
    "minilm": Calibration(middle=-0.107, slope=19.0, sharpness=36.0),
    "static": Calibration(middle=-0.083, slope=6.1, sharpness=16.0),
    "ngram": Calibration(middle=-0.12, slope=9.8, sharpness=33.0),
}


class Personal(Struct, frozen=True):
    """The logit of being in scope, where an assistant answers for a person: a constant, and a weight for each sign.

    Fitted as `Calibration` is; `later` counts in a conversation.
    """

    constant: float
    distance: float
    person: float
    you: float
    visitor: float
    company: float
    later: float


PERSONAL: Final = {
    "minilm": Personal(constant=1.44, distance=20.6, person=5.2, you=1.0, visitor=-0.7, company=0.9, later=1.5),
    "static": Personal(constant=0.13, distance=12.9, person=4.4, you=1.9, visitor=-0.8, company=1.5, later=1.5),
    "ngram": Personal(constant=1.28, distance=16.1, person=3.3, you=1.3, visitor=-0.7, company=1.5, later=1.0),
}
