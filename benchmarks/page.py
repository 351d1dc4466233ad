"""Times how long Chromium takes to draw a page's network, and how evenly it pans.

``python -m benchmarks.page [FILE ...]`` opens pages (by default made-up networks of 1,000 and of
10,000 nodes) five times each in headless Chromium, 1440 by 900, and tells of each

- the seconds from the start of loading to the frame that has the graph, and of its main thread's
  processor until then and after two and a half seconds more, the median and the smallest;
- the frames while the graph is dragged for 20 steps, as it opens and then with all of it in view:
  milliseconds between frames (median, 95th percentile, longest) and of the main thread's processor
  per frame.
"""

from __future__ import annotations

import random
import shutil
import statistics
import sys
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from hmct_track.report.folding import fold
from hmct_track.report.network import Item, Network
from hmct_track.report.page import render_page
from hmct_track.types import Metric

_SIZES = (1_000, 10_000)
_REPEATS, _STEPS = 5, 20
_DRAWN = """(() => {
  const look = () => {
    if (!window.hmctGraph) return requestAnimationFrame(look);
    requestAnimationFrame(() => requestAnimationFrame(() => { window.drawn = performance.now(); }));
  };
  requestAnimationFrame(look);
})()"""
_FRAMES = """() => {
  window.frames_ = [];
  const note = now => { window.frames_.push(now); window.noted = requestAnimationFrame(note); };
  window.noted = requestAnimationFrame(note);
}"""


def made_up(nodes: int) -> str:
    """The page of a chain of nodes in which every fourth also feeds the one after the next."""
    drawn = random.Random(0)  # noqa: S311
    names = [f"/model/layer.{k // 12}/op{k}" for k in range(nodes)]
    ops = [("Conv", "Relu", "Add", "Mul")[k % 4] for k in range(nodes)]
    items = [Item(name, "node", op) for name, op in zip(names, ops, strict=True)]
    for item in items:
        error = 10 ** drawn.uniform(-8, -2)
        item.row = {"rank": 1, **{metric.column: error for metric in Metric}}
        item.row[Metric.COSINE_SIMILARITY.column] = 1 - error
    edges = [(k, k + 1) for k in range(nodes - 1)] + [(k, k + 2) for k in range(0, nodes - 2, 4)]
    run = {"run_id": "r", "kind": "sensitivity", "model": "m", "data_num": 1, "data_id": "d"}
    network = Network(run, Metric.COSINE_SIMILARITY, items, edges, fold(names, ops))
    return render_page("made up", {}, (), (), network)


def _busy(session: CDPSession) -> float:
    """Seconds that the main thread computed."""
    told: Any = session.send("Performance.getMetrics")
    return float(next(m["value"] for m in told["metrics"] if m["name"] == "TaskDuration"))


def _panned(page: Page, session: CDPSession) -> tuple[list[float], float]:
    """Milliseconds of each frame of a drag, and of the processor's time per frame."""
    box = page.locator(".hg-canvas").bounding_box()
    if box is None:
        raise RuntimeError("the page shows no graph")
    x, y = box["x"] + 0.9 * box["width"], box["y"] + 0.7 * box["height"]
    page.evaluate(_FRAMES)
    before = _busy(session)
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(_STEPS):
        page.mouse.move(x - 4 * step, y - 8 * step)
    page.mouse.up()
    times = page.evaluate("() => { cancelAnimationFrame(window.noted); return window.frames_; }")
    gaps = [after - earlier for earlier, after in pairwise(times)]
    return gaps, 1000 * (_busy(session) - before) / max(len(gaps), 1)


def measured(browser: Browser, file: Path) -> None:
    """Open a page several times and print what it took."""
    opened = []
    pans: dict[str, list[tuple[list[float], float]]] = {"as it opens": [], "all in view": []}
    for _ in range(_REPEATS):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.add_init_script(_DRAWN)
        page.goto(file.resolve().as_uri())
        page.wait_for_function("window.drawn")
        first = _busy(session)
        page.wait_for_timeout(2500)
        opened.append((page.evaluate("window.drawn") / 1000, first, _busy(session)))
        pans["as it opens"].append(_panned(page, session))
        page.evaluate("hmctGraph.cy.fit(undefined, 20)")
        page.wait_for_timeout(1000)
        pans["all in view"].append(_panned(page, session))
        shown = page.evaluate("hmctGraph.cy.nodes().length")
        page.close()
    print(f"{file.name}: {shown} drawn")
    for name, of in zip(
        ("drawn", "busy until then", "busy in all"), zip(*opened, strict=True), strict=True
    ):
        print(f"  {name}: median {statistics.median(of):.2f} s, smallest {min(of):.2f} s")
    for where, found in pans.items():
        gaps = sorted(gap for every, _ in found for gap in every)
        late = gaps[int(0.95 * len(gaps))]
        busy = statistics.median(each for _, each in found)
        print(f"  panned, {where}: median {statistics.median(gaps):.0f} ms, 95 % {late:.0f} ms, "
              f"longest {gaps[-1]:.0f} ms; busy {busy:.1f} ms a frame")  # fmt: skip


def main() -> None:
    """Time the pages that are named, or two that are made up."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        files = [Path(name) for name in sys.argv[1:]]
        if not files:
            for nodes in _SIZES:
                files.append(Path(folder) / f"{nodes}.html")
                files[-1].write_text(made_up(nodes), encoding="utf-8")
        # Chromium's sandbox does not start as root.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for file in files:
            measured(browser, file)
        browser.close()


if __name__ == "__main__":
    main()
