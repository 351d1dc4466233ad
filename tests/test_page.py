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

import hmct_track
import hmct_track.debug as dbg
from hmct_track import demo
from hmct_track.lake import Lake

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
    shown = "img:not(.hg-print)"  # which is made when the page is printed
    widths = page.eval_on_selector_all(shown, "all => all.map(i => i.naturalWidth)")
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
    tables = page.locator("section.step table").all()
    weights, activations, spread, boxes, curves, steps = tables[:6]
    assert weights.locator("tbody tr").count() == len(done.rankings[0].rows)
    assert done.rankings[1].rows[0]["subject"] in activations.locator("tbody tr").first.inner_text()
    assert spread.locator("tbody tr").count() == len(done.distribution.rows)
    assert boxes.locator("tbody tr").count() == 10
    assert curves.locator("tbody tr").count() == 3
    assert steps.locator("tbody tr").count() == len(done.partial.rows)
    said = page.locator(".hg-said").inner_text()
    assert done.answer.whole_line in said
    for ranking in done.rankings:
        assert f"{ranking.rows[0]['subject']} is the worst of {len(ranking.rows)}" in said
    assert page.locator(".hg-list tbody tr").count() == sum(len(r.rows) for r in done.rankings)
    assert f"hmct-debugger repeat {done.run_id}" in page.locator("footer").inner_text()
    for path in (demo.model_path(), place):
        assert str(path.parent) not in page.content()
    page.close()


def test_a_figure_fills_the_window_and_goes_back(
    browser: Browser, results: tuple[Path, Any]
) -> None:
    place, _ = results
    page, troubles = opened(browser, place / "out" / "index.html", DESKTOP)
    assert page.locator("figure img").first.is_hidden()  # figures are on demand
    page.locator("summary").first.click()
    image = page.locator("figure img").first
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
    page.locator("label input.zoom").first.press("Space")
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


ODD = """/a/<script>document.title='bad'</script>"'&amp;\\ </b>"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The lake of a ranking whose model has markup in a name, and its run."""
    import onnx

    place = tmp_path_factory.mktemp("odd")
    model = onnx.load(demo.model_path())
    next(node for node in model.graph.node if node.op_type == "Conv").name = ODD
    data = demo.calibration_data_path()
    ranked = dbg.get_sensitivity_of_nodes(
        model, "mse", data, lake=place / "lake", track=False, progress=False
    )
    return place / "lake", ranked.run_id  # type: ignore[attr-defined]


def test_the_graph_of_a_run_in_a_browser(
    browser: Browser, odd: tuple[Path, str], tmp_path: Path
) -> None:
    lake, run_id = odd
    drawn = hmct_track.graph(run_id, lake=lake)
    file = drawn.save(tmp_path / "graph.html")
    page, troubles = opened(browser, file, DESKTOP)
    shown = page.evaluate("hmctGraph.cy.nodes().map(n => [n.id(), n.data('fill'), n.data('type')])")
    names = page.evaluate("hmctGraph.items.map(i => i.name)")
    # Colours are those of the rows: a quarter of the palette for a factor of ten, sRGB linear.
    rows = Lake.open(lake).query("sensitivity", run_id=run_id, metric="mse")
    worst = max(row["mse"] for row in rows)
    stops = np.array([[0xF3, 0xF1, 0xEC], [0xFE, 0xD9, 0x76], [0xFD, 0x8D, 0x3C],
                      [0xE3, 0x1A, 0x1C], [0x80, 0, 0x26]])  # fmt: skip
    fills = {names[int(node[1:])]: fill for node, fill, kind in shown if kind == "node"}
    for row in rows:
        t = max(1 + np.log10(row["mse"] / worst) / 4, 0) if row["mse"] else 0
        expected = [np.interp(4 * t, range(5), channel) for channel in stops.T]
        fill = fills[row["subject"]]
        given = [int(fill[k : k + 2], 16) for k in (1, 3, 5)]
        assert np.abs(np.array(given) - expected).max() <= 1  # shades have 4 decimals
    assert {fill for name, fill in fills.items() if name not in {r["subject"] for r in rows}} <= {
        "#ffffff"
    }
    # Search finds the name with markup, which is shown as it is, and no script of it has run.
    page.locator(".hg-search").fill("<script>")
    assert page.locator(".hg-found li").count() == 1
    page.locator(".hg-search").press("Enter")
    assert page.locator(".hg-panel h3").inner_text() == ODD
    assert ODD in page.locator(".hg-status").inner_text()
    assert page.title() != "bad"
    # A click on another node shows it, and the keyboard goes to what it feeds and back.
    page.locator(".hg-canvas").scroll_into_view_if_needed()
    box = page.locator(".hg-canvas").bounding_box()
    spot = page.evaluate("hmctGraph.cy.nodes('.chosen').outgoers('node')[0].renderedPosition()")
    target = page.evaluate("hmctGraph.cy.nodes('.chosen').outgoers('node')[0].id()")
    assert box
    page.mouse.click(box["x"] + spot["x"], box["y"] + spot["y"])
    assert page.evaluate("hmctGraph.at") == target
    page.keyboard.press("ArrowUp")
    before = page.evaluate("hmctGraph.at")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("hmctGraph.cy.getElementById(hmctGraph.at).incomers('node').some(n => "
                         f"n.id() === '{before}')")  # fmt: skip
    page.keyboard.press("w")
    assert page.locator(".hg-panel h3").inner_text() == rows[0]["subject"]
    assert troubles == []
    page.close()


def test_a_screen_reader_has_names_and_the_keyboard_alone_reaches_a_node(
    browser: Browser, odd: tuple[Path, str], tmp_path: Path
) -> None:
    """By Chromium's own accessibility tree."""
    lake, run_id = odd
    page, troubles = opened(
        browser, hmct_track.graph(run_id, lake=lake).save(tmp_path / "graph.html"), DESKTOP
    )
    asked = page.context.new_cdp_session(page)

    def tree() -> list[tuple[str, str]]:
        nodes = asked.send("Accessibility.getFullAXTree")["nodes"]
        kept = (n for n in nodes if not n["ignored"])
        return [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in kept]

    found = tree()
    acts = {"button", "searchbox", "combobox", "checkbox", "textbox", "link", "columnheader"}
    acts |= {"application", "complementary", "table", "region", "image", "img"}
    assert not [pair for pair in found if pair[0] in acts and not pair[1].strip()]
    for role, name in (
        ("combobox", "Colour"),
        ("searchbox", "Search"),
        ("searchbox", "Filter"),
        ("checkbox", "weights and activations"),
        ("complementary", "details of the chosen node"),
        ("table", "nodes, the worst first"),
        ("columnheader", "place"),
        ("button", ODD),  # of the list, which has every node that was ranked
    ):
        assert (role, name) in found, (role, name)
    rows = Lake.open(lake).query("sensitivity", run_id=run_id, metric="mse")
    assert {row["subject"] for row in rows} <= {name for role, name in found if role == "button"}
    here = "document.activeElement.className"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate(here).startswith("hg-canvas"):
            break
    assert page.evaluate(here).startswith("hg-canvas")
    page.keyboard.press("w")
    page.keyboard.press("ArrowUp")
    at = page.evaluate("hmctGraph.items[+hmctGraph.at.slice(1)].name")
    assert page.locator(".hg-status").inner_text().startswith(f"{at}, ")
    page.keyboard.press("Enter")
    assert page.evaluate(here) == "hg-panel"
    assert ("heading", at) in tree()
    page.keyboard.press("Tab")
    told = page.evaluate("document.activeElement.firstChild.nextSibling.textContent")
    page.keyboard.press("Enter")
    assert page.locator(".hg-panel h3").inner_text() == told
    assert troubles == []
    page.close()


def test_the_list_leads_to_the_graph_and_a_notebook_shows_both(
    browser: Browser, odd: tuple[Path, str], tmp_path: Path
) -> None:
    lake, run_id = odd
    drawn = hmct_track.graph(run_id, lake=lake)
    page, troubles = opened(browser, drawn.save(tmp_path / "graph.html"), DESKTOP)
    rows = page.locator(".hg-list tbody tr")
    count = rows.count()
    page.locator(".hg-filter").fill("<script>")
    assert rows.locator("visible=true").count() == 1
    page.locator(".hg-go:visible").click()
    assert page.locator(".hg-panel h3").inner_text() == ODD
    page.locator(".hg-filter").fill("")
    heads = page.locator(".hg-list th button")
    heads.filter(has_text="mse").first.click()
    keys = page.eval_on_selector_all(
        ".hg-list tbody tr", "all => all.map(r => +r.cells[4].dataset.key)"
    )
    assert keys == sorted(keys, reverse=True)
    # Dark, and on a phone.
    page.locator(".hg-theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 26)"
    page.set_viewport_size({"width": PHONE, "height": 700})
    inner, body = page.evaluate("[innerWidth, document.documentElement.scrollWidth]")
    assert body <= inner
    page.close()
    # A notebook's frame may run the script, and reaches nothing.
    cell = tmp_path / "cell.html"
    cell.write_text(f"<meta charset=utf-8><title>good</title>{drawn._repr_html_()}")
    page, framed = opened(browser, cell, DESKTOP)
    inside = page.frame_locator("iframe")
    inside.locator(".hg-panel h3").wait_for()
    assert inside.locator(".hg-list tbody tr").count() == count > 1
    assert page.title() == "good"
    assert troubles == []
    assert [told for told in framed if "about:srcdoc" not in told] == []
    page.close()


# Of what is drawn: edges without an end, edges through a box that is not theirs, boxes on boxes.
_FLAWS = """() => {
  const cy = hmctGraph.cy, boxes = cy.nodes().map(n => ({ n, ...n.position(), w: n.width() / 2, h: n.height() / 2 }));
  const off = (a, b, x, y) => (b.x - a.x) * (y - a.y) - (b.y - a.y) * (x - a.x);
  const found = { ends: 0, through: 0, overlaps: 0, edges: cy.edges().length };
  cy.elements().boundingBox();
  cy.edges().forEach(e => {
    if (!e.targetEndpoint() || !isFinite(e.targetEndpoint().x)) found.ends++;
    const a = e.source().position(), b = e.target().position(), d = Math.hypot(b.x - a.x, b.y - a.y);
    const bent = (e.data("along") || []).map((part, k) => ({
      x: a.x + part * (b.x - a.x) - e.data("beside")[k] * (b.y - a.y) / d,
      y: a.y + part * (b.y - a.y) + e.data("beside")[k] * (b.x - a.x) / d }));
    const way = [a, ...bent, b];
    way.slice(1).forEach((q, k) => {
      const p = way[k];
      for (const { n, x, y, w, h } of boxes) {
        if (n.same(e.source()) || n.same(e.target())) continue;
        if (Math.max(p.x, q.x) < x - w + 1 || Math.min(p.x, q.x) > x + w - 1) continue;
        if (Math.max(p.y, q.y) < y - h + 1 || Math.min(p.y, q.y) > y + h - 1) continue;
        const sides = [[-w, -h], [w, -h], [-w, h], [w, h]].map(([i, j]) => off(p, q, x + i, y + j));
        if (Math.min(...sides) < 0 && Math.max(...sides) > 0) found.through++;
      }
    });
  });
  boxes.forEach((one, k) => boxes.slice(0, k).forEach(other => {
    if (Math.abs(one.x - other.x) < one.w + other.w && Math.abs(one.y - other.y) < one.h + other.h) found.overlaps++;
  }));
  return found;
}"""  # noqa: E501
# How many graphs dagre lays out to draw it anew, and the nodes of the largest.
_ASKED = """() => {
  const asked = [], piece = hmctGraph.piece;
  hmctGraph.piece = (runs, links, known) => {
    const size = known.size, made = piece.call(hmctGraph, runs, links, known);
    if (known.size > size) asked.push(runs.length);
    return made;
  };
  hmctGraph.draw();
  delete hmctGraph.piece;
  return [asked.length, Math.max(...asked)];
}"""


def test_alike_blocks_are_laid_out_once_and_no_edge_crosses_a_box(
    browser: Browser, tmp_path: Path
) -> None:
    from hmct_track.report.folding import fold
    from hmct_track.report.network import Item, Network
    from hmct_track.report.page import render_page
    from hmct_track.types import Metric

    # Blocks of six nodes with a way around three of them and another to the block's end, each with
    # a weight; the last has outputs in its middle and at its end.
    ops = ["Conv", "Relu", "Conv", "Mul", "Add", "Clip"] * 30
    names = [f"/layer{k // 6}/{k % 6}" for k in range(len(ops))]
    items = [Item(name, "node", op) for name, op in zip(names, ops, strict=True)]
    edges = [(k, k + 1) for k in range(len(ops) - 1)]
    for k in range(0, len(ops), 6):
        edges += [(k, k + 4), (k + 1, k + 5), (len(items), k + 2)]
        items.append(Item(f"weight{k}", "weight"))
    edges += [(len(ops) - 4, len(items)), (len(ops) - 1, len(items) + 1)]
    items += [Item("middle", "output"), Item("end", "output")]
    run = {"run_id": "r", "kind": "sensitivity", "model": "m", "data_num": 1, "data_id": "d"}
    network = Network(run, Metric.MSE, items, edges, fold(names, ops))
    file = tmp_path / "blocks.html"
    file.write_text(render_page("blocks", {}, (), (), network), encoding="utf-8")
    page, troubles = opened(browser, file, DESKTOP)
    for quantizers in (False, True):
        page.evaluate("shown => { hmctGraph.quantizers = shown; }", quantizers)
        calls, largest = page.evaluate(_ASKED)
        assert calls <= 8
        assert 3 <= largest <= 12
        found = page.evaluate(_FLAWS)
        assert found["edges"] == len(edges) - (0 if quantizers else 30)
        assert (found["ends"], found["through"], found["overlaps"]) == (0, 0, 0)
    assert troubles == []
    page.close()


@pytest.mark.parametrize(("nodes", "drawn"), [(1_000, 1_000), (10_000, 150)])
def test_large_networks_open(browser: Browser, tmp_path: Path, nodes: int, drawn: int) -> None:
    from hmct_track.report.folding import fold
    from hmct_track.report.network import Item, Network
    from hmct_track.report.page import render_page
    from hmct_track.types import Metric

    names = [f"/model/layer.{k // 12}/op{k}" for k in range(nodes)]
    ops = [("Conv", "Relu", "Add", "Mul")[k % 4] for k in range(nodes)]
    items = [Item(name, "node", op) for name, op in zip(names, ops, strict=True)]
    for k, item in enumerate(items):
        item.row = {"rank": k + 1, **{metric.column: 10.0 ** -(1 + k % 7) for metric in Metric}}
    edges = [(k, k + 1) for k in range(nodes - 1)] + [(k, k + 2) for k in range(0, nodes - 2, 4)]
    run = {"run_id": "r", "kind": "sensitivity", "model": "m", "data_num": 1, "data_id": "d"}
    network = Network(run, Metric.MSE, items, edges, fold(names, ops))
    file = tmp_path / "large.html"
    file.write_text(render_page("large", {}, (), (), network), encoding="utf-8")
    page, troubles = opened(browser, file, DESKTOP)
    shown = page.evaluate("hmctGraph.cy.nodes().length")
    assert drawn == shown if nodes == drawn else 1 < shown <= drawn
    page.locator(".hg-search").fill(f"op{nodes - 1}")
    page.locator(".hg-search").press("Enter")
    assert page.locator(".hg-panel h3").inner_text() == names[-1]
    if nodes > drawn:  # the groups that it was in have opened
        page.locator(".hg-fold").click()
        assert page.evaluate("hmctGraph.cy.nodes().length") < shown
        page.locator(".hg-unfold").click()
        assert "too many to draw at once" in page.locator(".hg-status").inner_text()
    assert troubles == []
    page.close()
