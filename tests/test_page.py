"""The page and the notebook's view in headless Chromium: all is there, and nothing is fetched."""

from __future__ import annotations

import html
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import hmct_track.debug as dbg
from hmct_track import demo

PHONE, DESKTOP = 360, 1440
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of the machine, or playwright's own where it was installed."""
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        found = next(filter(None, map(shutil.which, NAMES)), None) or (
            own if own.exists() else None
        )
        if found is None:
            pytest.skip(
                f"no Chromium: none of {', '.join(NAMES)} is on PATH, nor playwright's; "
                "apt-get install chromium, or playwright install chromium"
            )
        # Chromium's sandbox does not start as root, which containers of CI run as.
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    place = tmp_path_factory.mktemp("page")
    files = sorted(demo.calibration_data_path().glob("input/*.npy"))[:2]
    data = {"input": [np.load(file) for file in files]}
    done = dbg.runall(
        demo.model_path(), data, place / "out", lake=place / "lake", track=False, progress=False
    )
    return place, done


def opened(browser: Browser, path: Path, width: int) -> tuple[Page, list[str]]:
    """A page of a file, and what went wrong or was asked of elsewhere."""
    page = browser.new_page(viewport={"width": width, "height": 800})
    troubles: list[str] = []
    page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("requestfailed", lambda request: troubles.append(request.url[:100]))

    def note(request: Any) -> None:
        if not request.url.startswith("data:") and request.url != path.as_uri():
            troubles.append(f"asked for {request.url[:100]}")

    page.on("request", note)
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    return page, troubles


def assert_whole(page: Page, images: int) -> None:
    """All figures have loaded, and the body does not scroll sideways."""
    widths = page.eval_on_selector_all("img", "all => all.map(i => i.naturalWidth)")
    assert len(widths) == images
    assert min(widths) > 100
    inner, body = page.evaluate("[innerWidth, document.documentElement.scrollWidth]")
    assert body <= inner


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_the_page_of_runall_is_whole(
    browser: Browser, results: tuple[Path, Any], width: int
) -> None:
    place, done = results
    page, troubles = opened(browser, place / "out" / "index.html", width)
    assert_whole(page, 2 + 10 + 10 + 1 + 1)
    assert troubles == []
    tables = page.locator("table").all()
    weights, activations, spread, boxes, curves, steps = tables[:6]
    assert weights.locator("tbody tr").count() == len(done.rankings[0].rows)
    assert done.rankings[1].rows[0]["subject"] in activations.locator("tbody tr").first.inner_text()
    assert spread.locator("tbody tr").count() == len(done.distribution.rows)
    assert boxes.locator("tbody tr").count() == 10
    assert curves.locator("tbody tr").count() == 3
    assert steps.locator("tbody tr").count() == len(done.partial.rows)
    page.close()


def test_a_figure_fills_the_window_and_goes_back(
    browser: Browser, results: tuple[Path, Any]
) -> None:
    place, _ = results
    page, troubles = opened(browser, place / "out" / "index.html", DESKTOP)
    image = page.locator("img").first
    before = image.bounding_box()
    image.click()
    large = image.bounding_box()
    assert before and large
    assert large["width"] >= DESKTOP > before["width"]
    assert page.evaluate("innerWidth") >= page.evaluate("document.documentElement.scrollWidth")
    image.click(position={"x": 50, "y": 50})
    again = image.bounding_box()
    assert again
    assert (again["x"], again["width"]) == (before["x"], before["width"])
    # The keyboard does it, too.
    page.locator("label input").first.press("Space")
    assert image.bounding_box() == large
    assert troubles == []
    page.close()


def test_names_in_tables_do_not_break(browser: Browser, tmp_path: Path) -> None:
    from hmct_track.report.html import Table
    from hmct_track.report.page import Section, render_page

    names = ["/model/layer-1/" + "/".join(f"block.{k}" for k in range(20)), "x" * 300, "a-b c/d e"]
    rows = [[name, ", ".join(names)] for name in names]
    file = tmp_path / "page.html"
    section = Section("names", Table(("node", "read by"), rows))
    file.write_text(render_page("names", {}, [section]), encoding="utf-8")
    page, _ = opened(browser, file, PHONE)
    lines = page.eval_on_selector_all(
        "td span",
        "all => all.map(s => [s.innerText.replace(/,\\s*$/, ''), s.getClientRects().length])",
    )
    assert [text for text, _ in lines[:1] + lines[1:4]] == [names[0], *names]
    assert {count for _, count in lines} == {1}
    inner, body = page.evaluate("[innerWidth, document.documentElement.scrollWidth]")
    assert body <= inner
    page.close()


def test_a_notebook_shows_what_the_functions_return(
    browser: Browser, results: tuple[Path, Any], tmp_path: Path
) -> None:
    place, done = results
    ranked = dbg.get_sensitivity_of_nodes(
        demo.model_path(), "sqnr", demo.calibration_data_path(), lake=place / "lake", track=False
    )
    for result, images in ((ranked, 1), (done.distribution, 10), (done.partial, 1), (done, 24)):
        file = tmp_path / "cell.html"
        file.write_text(f"<meta charset=utf-8>{result._repr_html_()}", encoding="utf-8")
        page, troubles = opened(browser, file, DESKTOP)
        assert_whole(page, images)
        assert troubles == []
        assert page.get_by_text(result.run_id).count() == 1
        page.close()


def test_names_are_shown_as_they_are(browser: Browser, tmp_path: Path) -> None:
    import onnx

    odd = "<script>document.title='bad'</script>&amp;\"' x"
    model = onnx.load(demo.model_path())
    next(node for node in model.graph.node if node.op_type == "Conv").name = odd
    ranked = dbg.get_sensitivity_of_nodes(
        model,
        "mse",
        demo.calibration_data_path(),
        interested_nodes=[odd],
        lake=tmp_path / "lake",
        track=False,
    )
    file = tmp_path / "cell.html"
    file.write_text(f"<meta charset=utf-8><title>good</title>{ranked._repr_html_()}")
    page, _ = opened(browser, file, DESKTOP)
    assert page.title() == "good"
    assert page.locator("tbody td").nth(1).inner_text() == odd
    assert html.escape(odd, quote=False) in page.content()
    page.close()
