"""For which stores a class of cases is meant."""

from __future__ import annotations

from typing import ClassVar

from holdfast.contract import Features


class Meant:
    """The base of all case classes.

    ``needs`` names the capabilities, ``promises`` the flags of ``Features`` that a store must have, ``unless`` those it
    must not have, for the class to be meant; then its tests must inherit it, see ``check_inheritance``.
    """

    needs: ClassVar[tuple[type, ...]] = ()
    promises: ClassVar[tuple[str, ...]] = ()
    unless: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def meant_for(cls, backend: object, features: Features) -> bool:
        """Tell whether a store with these powers and promises must pass these cases."""
        return (
            all(isinstance(backend, power) for power in cls.needs)
            and all(getattr(features, promise) for promise in cls.promises)
            and not any(getattr(features, promise) for promise in cls.unless)
        )
