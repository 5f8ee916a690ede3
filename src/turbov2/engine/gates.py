"""The doors to the models: how much may be in work or waiting for each, and for all together."""

from __future__ import annotations

from turbov2.batching import Gate
from turbov2.settings import Settings


class Gates:
    """One gate a model, made when it is first asked for, all behind one common gate."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._all = Gate(
            "all models",
            settings.max_total_queue_items,
            settings.max_total_queue_bytes,
            setting="TURBOV2_MAX_TOTAL_QUEUE",
        )
        self._gates: dict[str, Gate] = {}

    def of(self, model: str) -> Gate:
        """Returns the model's gate. `model` is a catalogue name, so there are not many."""
        gate = self._gates.get(model)
        if gate is None:
            gate = Gate(
                f"model '{model}'", self._settings.max_queue_items, self._settings.max_queue_bytes, self._all
            )
            self._gates[model] = gate
        return gate
