"""`python -m recipes.vl_classifier.train OUT PREPARED ... --minutes 60`: trains within a given time.

The learning rate follows the clock: a warm-up of 5 % of the time, then half a cosine. Weights are averaged
over steps (exponential moving average), and it is the average that is kept. `checkpoint.pt` is written
every few minutes and taken up again; `network.pt` holds the averaged weights, `log.jsonl` what was seen on
the validation pages.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.vl_classifier.batches import Prepared, ink_of, training_batches
from recipes.vl_classifier.network import PageNetwork

BATCH = 32
PEAK_RATE = 3e-3
WEIGHT_DECAY = 0.03
SMOOTHING = 0.04  # of labels
CELLS_WEIGHT = 1.0  # of the cells' loss beside the page's
AVERAGING = 0.997
SAVE_EVERY_S = 300.0
WARM_UP = 0.05


def main() -> None:
    """Trains until the time is over."""
    parser = argparse.ArgumentParser(prog="python -m recipes.vl_classifier.train", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("prepared", type=Path, nargs="+")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    Training(Prepared(given.prepared), given.out, given.minutes * 60, given.seed).run()


class Training:
    """A training that knows how long it has run, in this process and before."""

    def __init__(self, prepared: Prepared, out: Path, total_s: float, seed: int) -> None:
        self._prepared, self._out, self._total_s = prepared, out, total_s
        self._network = PageNetwork().to(memory_format=torch.channels_last)
        self._average = copy.deepcopy(self._network).requires_grad_(False)
        self._optimizer = torch.optim.AdamW(_groups(self._network), lr=PEAK_RATE)
        self._spent_s, self._n_steps = 0.0, 0
        self._resume()
        self._batches = training_batches(prepared, BATCH, seed + self._n_steps)

    def run(self) -> None:
        """Afterwards `network.pt` holds the averaged weights."""
        loss, saved_s = 0.0, self._spent_s
        while self._spent_s < self._total_s:
            began_s = time.perf_counter()
            loss += 0.02 * (self._step() - loss) if loss else self._step()
            self._spent_s += time.perf_counter() - began_s
            if self._spent_s - saved_s > SAVE_EVERY_S or self._spent_s >= self._total_s:
                saved_s = self._spent_s
                self._save()
                self._report(loss)

    def _step(self) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = PEAK_RATE * rate_at(self._spent_s / self._total_s)
        ink, labels, cells = next(self._batches)
        self._network.train()
        with torch.autocast("cpu", torch.bfloat16):
            page, map_of_cells = self._network(ink.contiguous(memory_format=torch.channels_last))
        loss = loss_of(page.float(), map_of_cells.float(), labels, cells)
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._network.parameters(), 2.0)
        self._optimizer.step()
        self._n_steps += 1
        self._follow()
        return float(loss.detach())

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the averaged weights towards the trained ones; faster at first."""
        share = 1 - min(AVERAGING, (1 + self._n_steps) / (20 + self._n_steps))
        trained = self._network.state_dict()
        for name, value in self._average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(trained[name], share)
            else:
                value.copy_(trained[name])

    def _save(self) -> None:
        state = {
            "network": self._network.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "spent_s": self._spent_s,
            "n_steps": self._n_steps,
        }
        torch.save(state, self._out / "checkpoint.new")
        (self._out / "checkpoint.new").replace(self._out / "checkpoint.pt")
        torch.save(self._average.state_dict(), self._out / "network.pt")

    def _resume(self) -> None:
        file = self._out / "checkpoint.pt"
        if not file.is_file():
            return
        state = torch.load(file, weights_only=True)
        self._network.load_state_dict(state["network"])
        self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._spent_s, self._n_steps = state["spent_s"], state["n_steps"]

    def _report(self, loss: float) -> None:
        seen = validate(self._average, self._prepared)
        line = {
            "minutes": round(self._spent_s / 60, 1),
            "steps": self._n_steps,
            "loss": round(loss, 4),
            **seen,
        }
        with (self._out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def loss_of(page: Tensor, cells_seen: Tensor, labels: Tensor, cells: Tensor) -> Tensor:
    """Returns the mean loss: of the page's label, softened, and of where its HIGH content is."""
    softened = labels * (1 - SMOOTHING) + SMOOTHING / 2
    of_page = functional.binary_cross_entropy_with_logits(page, softened)
    of_cells = functional.binary_cross_entropy_with_logits(cells_seen, cells)
    return of_page + CELLS_WEIGHT * of_cells


def rate_at(share: float) -> float:
    """Returns the learning rate's factor, 0 to 1, when this share of the time is spent."""
    if share < WARM_UP:
        return max(share / WARM_UP, 0.01)
    return max(0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP))), 0.005)


def _groups(network: nn.Module) -> list[dict[str, object]]:
    """Weights decay; scales and offsets do not."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]


@torch.inference_mode()
def logits_of(network: nn.Module, prepared: Prepared, places: np.ndarray) -> np.ndarray:
    """Returns the page logits `[n]` float32 of these rows, all standing or all lying."""
    network.eval()
    found = []
    for start in range(0, len(places), BATCH):
        ink = ink_of([prepared.page(int(n)) for n in places[start : start + BATCH]])
        with torch.autocast("cpu", torch.bfloat16):
            found.append(network(ink.contiguous(memory_format=torch.channels_last))[0].float().numpy())
    return np.concatenate(found) if found else np.zeros(0, np.float32)


def validate(network: nn.Module, prepared: Prepared) -> dict[str, float]:
    """Returns recall of both labels, in per cent, on real and on drawn pages, as they are and degraded."""
    seen: dict[str, list[bool]] = {}
    for is_wide in (False, True):
        places = prepared.places("validation", is_wide=is_wide)
        places = places[[prepared.rows[int(n)].copy <= prepared.rows[int(n)].is_real for n in places]]
        for place, logit in zip(places, logits_of(network, prepared, places), strict=True):
            row = prepared.rows[place]
            kind = ("real" if row.is_real else "drawn", "degraded" if row.copy else "clean")
            name = " ".join((*kind, "HIGH" if row.is_high else "LOW"))
            seen.setdefault(name, []).append((logit > 0) == row.is_high)
    return dict(_percent(seen))


def _percent(seen: dict[str, list[bool]]) -> Iterator[tuple[str, float]]:
    for name, hits in sorted(seen.items()):
        yield name, round(100 * float(np.mean(hits)), 1)


if __name__ == "__main__":
    main()
