"""`turbov2 distill`: a transformer → a static table of its tokens' vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from turbov2.cli._boundary import MISUSED, CliError

if TYPE_CHECKING:
    from turbov2.recipes.compare import Comparison
    from turbov2.recipes.distill import Distilled


def distill(
    teacher: Annotated[
        str,
        typer.Argument(help="Folder of a Sentence-Transformers model, or the name of a model that is here."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the static model.")],
    dimensions: Annotated[
        int | None,
        typer.Option(
            "--dimensions",
            "-d",
            min=1,
            metavar="N",
            help=r"Principal components to keep.  [dim]\[default: 256][/]",
        ),
    ] = None,
    pooling: Annotated[
        Literal["mean", "first", "last"],
        typer.Option(help="Which of the teacher's vectors stand for a token."),
    ] = "mean",
    sif: Annotated[
        float, typer.Option(metavar="A", help="Weighs down frequent tokens by A / (A + p); 0 weighs none.")
    ] = 1e-4,
    dtype: Annotated[
        Literal["float16", "float32", "int8"], typer.Option(help="How values are stored.")
    ] = "float16",
    vocabulary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Words that get a vector of their own, one a line.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Retrieval set (JSONL) on which to compare teacher and result."),
    ] = None,
) -> None:
    """Distil a transformer into a static model: one vector a token, a hundred times faster, less exact.

    Needs the extra `sentence`. The folder appears only when it is complete.
    """
    from turbov2.cli._console import print_note
    from turbov2.recipes.card import write_card
    from turbov2.recipes.distill import Recipe, read_words
    from turbov2.recipes.distill import distill as run
    from turbov2.recipes.folder import new_folder
    from turbov2.recipes.retrieval import read_set

    source = _teacher_folder(teacher)
    wanted = read_set(data) if data else None
    recipe = Recipe(dimensions, pooling, sif, dtype, read_words(vocabulary) if vocabulary else ())
    compared: Comparison | None = None
    with new_folder(out) as draft:
        from turbov2.cli._progress import CountDisplay

        with CountDisplay("reading tokens", "tokens") as display:
            made = run(source, recipe, draft, out.resolve().name, display.step)
        if wanted is not None:
            from turbov2.recipes.compare import compare

            with CountDisplay("comparing with the teacher", "texts") as display:
                compared = compare(source, draft, wanted, display.step)
        write_card(draft, made, compared)
    _print_summary(made, compared)
    print_note(f"the model is in {out}; serve it as docs/distillation.md shows")


def _teacher_folder(teacher: str) -> Path:
    """Returns the teacher's folder. Raises: CliError."""
    if Path(teacher).is_dir():
        return Path(teacher)
    if "/" in teacher or teacher.startswith("."):  # meant as a path, or a hub's name that is not catalogued
        raise CliError(
            f"no folder is called '{teacher}'", "name a folder or a model: turbov2 models", MISUSED
        )
    from turbov2.cli._shelf import find, open_shelf
    from turbov2.settings import load_settings

    shelf = open_shelf(load_settings())
    spec = find(shelf.catalog, teacher)
    here = shelf.peek(spec)
    if here is None:
        raise CliError(f"the weights of {spec.name} are not here", f"turbov2 pull {spec.name}")
    if "config.json" not in here.files:
        raise CliError(
            f"{spec.name} is not a transformer in safetensors, so it cannot teach", exit_code=MISUSED
        )
    return Path(here.files["config.json"]).parent


def _print_summary(made: Distilled, compared: Comparison | None) -> None:
    from turbov2.cli._console import make_grid, print_table, size_text

    grid = make_grid()
    grid.add_row("tokens", f"{made.n_tokens:,}")
    grid.add_row("dimensions", f"{made.dimensions} of {made.teacher_dimensions}")
    grid.add_row("variance", f"{made.variance_kept:.1%} kept")
    grid.add_row("size", f"{size_text(made.size_bytes)} in {made.recipe.dtype}")
    if compared is not None:
        change = compared.difference["nDCG@10"]
        grid.add_row(
            "nDCG@10", f"{compared.student.quality['nDCG@10']}, teacher {compared.teacher.quality['nDCG@10']}"
        )
        grid.add_row("difference", str(change))
        grid.add_row("Spearman", f"{compared.spearman:.3f} with the teacher's cosines")
        grid.add_row(
            "texts/s", f"{compared.student.texts_per_s:,.0f}, teacher {compared.teacher.texts_per_s:,.0f}"
        )
    print_table(grid)
