"""Charts as PNG files, the same bytes for the same numbers."""

from pathlib import Path

from matplotlib.figure import Figure

COLOURS = ["#1f5f8b", "#2a9d8f", "#e9a03b", "#c8553d", "#6d597a", "#8d99ae"]


def draw(path: Path, kind: str, title: str, values: dict[str, float], unit: str) -> None:
    """Draw bars or a line with its numbers; the file appears whole, or not at all."""
    # A Figure of its own draws with Agg wherever this runs: no window, no global state, any thread.
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axis = figure.subplots()
    names, numbers = list(values), [float(one) for one in values.values()]
    if kind == "line":
        axis.plot(names, numbers, marker="o", linewidth=2.5, color=COLOURS[0])
        axis.fill_between(range(len(names)), numbers, alpha=0.12, color=COLOURS[0])
        for place, number in enumerate(numbers):
            axis.annotate(
                f"{number:g}", (place, number), xytext=(0, 8), textcoords="offset points", ha="center"
            )
        axis.set_ylim(0, max(numbers) * 1.2)
    else:
        colours = [COLOURS[place % len(COLOURS)] for place in range(len(names))]
        axis.bar_label(axis.bar(names, numbers, color=colours), fmt="%g", padding=3)
        axis.set_ylim(0, max(numbers) * 1.15)
    axis.set_title(title, fontsize=13, fontweight="bold", loc="left")
    axis.set_ylabel(unit)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", alpha=0.25)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_suffix(".part")
    figure.savefig(made, format="png", dpi=120, metadata={"Software": None})
    made.replace(path)
