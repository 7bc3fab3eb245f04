"""How a network is trained: what the paper did, and what does better."""

import dataclasses
import math
import numbers
from collections.abc import Callable

import optax

from .._errors import check_whole


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A gradient method in single precision on all trajectories at once, then a polish.

    - `rate`: its learning rate; with `cosine` it falls to zero over the `epochs`.
    - `shortest`, `ramp`: the forecast is judged on its first `shortest` samples at the
      beginning, and on linearly more until, after `ramp` epochs, on all of them. With
      `ramp` zero on all of them from the beginning.
    - `polish`: steps of Levenberg and Marquardt in double precision that follow.
    - `optimiser`: from a learning rate to an optax transformation.
    """

    rate: float = 1e-2
    epochs: int = 4_000
    cosine: bool = False
    shortest: int = 4
    ramp: int = 0
    polish: int = 0
    optimiser: Callable = optax.adam

    def __post_init__(self):
        for name, least in (("epochs", 0), ("shortest", 1), ("ramp", 0), ("polish", 0)):
            check_whole("Recipe", name, getattr(self, name), least)
        number = isinstance(self.rate, numbers.Real) and not isinstance(self.rate, bool)
        if not number or not 0 < self.rate < math.inf:
            raise ValueError(
                f"Recipe: rate must be a positive finite number, got {self.rate!r}."
            )
        if not callable(self.optimiser):
            raise ValueError(
                "Recipe: optimiser must make an optax transformation from a learning rate, "
                f"as optax.adam does; got {self.optimiser!r}."
            )

    @property
    def steps(self) -> int:
        """Epochs and steps of the polish together."""
        return self.epochs + self.polish

    def transformation(self) -> optax.GradientTransformation:
        """The optimiser with its schedule."""
        rate = self.rate
        if self.cosine:
            rate = optax.cosine_decay_schedule(rate, max(self.epochs, 1))
        made = self.optimiser(rate)
        if not (hasattr(made, "init") and hasattr(made, "update")):
            raise ValueError(
                "Recipe: optimiser must return an optax transformation, as optax.adam "
                f"does; got {made!r}."
            )
        return made


RECIPES = {
    "paper": Recipe(),
    "recommended": Recipe(rate=3e-2, cosine=True, ramp=2_000, polish=60),
}


def recipe_of(recipe: "str | Recipe") -> Recipe:
    """A recipe, by name or as it is.

    **Raises:** `ValueError` for an unknown name.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise ValueError(
            f"fit: recipe must be one of {', '.join(RECIPES)} or a cgru.Recipe, got "
            f"{recipe!r}."
        )
    return RECIPES[recipe]
