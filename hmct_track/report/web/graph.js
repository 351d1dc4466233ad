"use strict";
/* The graph of a network and the list of its nodes. Texts are set as text, never as markup. */
(() => {
const MOST_DRAWN = 1600, MOST_FOUND = 40, QUANTIZERS_UP_TO = 400, GAP = 22, LONGEST_RUN = 8, SVG = "http://www.w3.org/2000/svg";
const QUANTIZER = { weight: 1, activation: 1 };

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}
function drawn(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
function mix(stops, t) {
  const place = Math.min(Math.max(t, 0), 1) * (stops.length - 1);
  const k = Math.min(Math.floor(place), stops.length - 2);
  const part = (c, i) => parseInt(c.slice(i, i + 2), 16);
  const one = i => {
    const a = part(stops[k], i), b = part(stops[k + 1], i);
    return Math.floor(a + (b - a) * (place - k) + 0.5).toString(16).padStart(2, "0");
  };
  return "#" + one(1) + one(3) + one(5);
}
function readable(background) {
  const linear = i => {
    const c = parseInt(background.slice(i, i + 2), 16) / 255;
    return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * linear(1) + 0.7152 * linear(3) + 0.0722 * linear(5) > 0.18 ? "#111111" : "#ffffff";
}
function short(name, most) {
  const last = name.split("/").filter(Boolean).pop() || name;
  return last.length <= most ? last : last.slice(0, 8) + "…" + last.slice(9 - most);
}

class Graph {
  constructor(root) {
    this.root = root;
    const find = name => root.querySelector(".hg-" + name);
    this.parts = {};
    for (const name of ["colour", "search", "quantizers", "fold", "unfold", "worst", "fit", "in", "out",
      "theme", "found", "strip", "canvas", "legend", "panel", "print", "status"]) this.parts[name] = find(name);
    this.data = JSON.parse(find("data").textContent);
    this.items = this.data.items;
    this.groups = this.data.groups.map((g, id) => ({ ...g, id, items: [] }));
    this.way = this.data.ways[0] || null;
    this.chosen = null;
    this.read();
    this.cy = null;
    this.choices();
    this.draw();
    this.start();
    this.listen();
  }

  // What there is

  read() {
    const { items, data } = this;
    this.producers = items.map(() => []);
    this.readers = items.map(() => []);
    for (const [from, to] of data.edges) { this.producers[to].push(from); this.readers[from].push(to); }
    items.forEach((item, id) => {
      item.id = id;
      item.search = [item.name, item.op || "", item.qtype || "", item.type].join(" ").toLowerCase();
    });
    for (const item of items) {
      if (!QUANTIZER[item.type]) continue;
      const reader = this.readers[item.id][0];
      if (reader !== undefined && items[reader].g !== undefined) item.g = items[reader].g;
    }
    for (const item of items) for (const g of this.chain(item)) this.groups[g].items.push(item.id);
    this.nodes = items.filter(item => item.type === "node").map(item => item.id);
    const general = items.filter(item => !QUANTIZER[item.type]).length;
    this.quantizers = items.length <= QUANTIZERS_UP_TO && items.length > general;
  }
  chain(item) {
    const found = [];
    for (let g = item.g; g !== undefined && g !== null; g = this.groups[g].up) found.push(g);
    return found;
  }
  general(id, step) {
    const seen = new Set(), found = [], waiting = [...this[step][id]];
    while (waiting.length) {
      const next = waiting.shift();
      if (seen.has(next)) continue;
      seen.add(next);
      if (QUANTIZER[this.items[next].type]) waiting.push(...this[step][next]);
      else found.push(next);
    }
    return found;
  }
  shownAs(id) {
    const item = this.items[id];
    if (QUANTIZER[item.type] && !this.quantizers) return null;
    let as = "i" + id;
    for (const g of this.chain(item)) if (!this.groups[g].open) as = "g" + g;
    return as;
  }
  value(id) { return this.way ? this.way.t[id] : null; }
  text(id) { return this.way ? this.way.texts[id] : ""; }

  // Colours

  get dark() {
    const own = document.documentElement.dataset.theme;
    return own ? own === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }
  ink() {
    return this.dark
      ? { plain: "#1d2024", line: "#8a9099", text: "#e8e8e8", page: "#15171a" }
      : { plain: "#ffffff", line: "#767676", text: "#1a1a1a", page: "#ffffff" };
  }
  shade(t) {
    if (t === null || t === undefined) return this.ink().plain;
    if (t < 0) return this.data.nan;
    if (this.way.kind === "category") return this.data.categories[t];
    return mix(this.data.palettes[this.way.kind][this.dark ? "dark" : "light"], t);
  }
  worstOf(ids) {
    let worst = null;
    for (const id of ids) {
      const t = this.value(id);
      if (t === null || t === undefined) continue;
      if (worst === null || this.bad(t) > this.bad(this.value(worst))) worst = id;
    }
    return worst;
  }
  bad(t) { return t < 0 ? 2 : this.way.kind === "category" ? -t : t; }
  look(as) {
    const ids = as[0] === "g" ? this.groups[+as.slice(1)].items : [+as.slice(1)];
    const kind = this.way && this.way.kind;
    let id = ids[0];
    if (as[0] === "g") id = kind === "category" ? this.commonest(ids) : this.worstOf(ids);
    const t = id === null ? null : this.value(id);
    const fill = this.shade(t);
    return { fill, ink: readable(fill), text: id === null ? "" : this.text(id), none: t === null || t === undefined };
  }
  commonest(ids) {
    const count = {};
    let best = null;
    for (const id of ids) {
      const t = this.value(id);
      if (t === null || t === undefined) continue;
      count[t] = (count[t] || 0) + 1;
      if (best === null || count[t] > count[this.value(best)]) best = id;
    }
    return best;
  }

  // Drawing

  elements() {
    const nodes = new Map(), edges = new Map();
    for (const item of this.items) {
      const as = this.shownAs(item.id);
      if (as && !nodes.has(as)) nodes.set(as, this.element(as));
    }
    for (const item of this.items) {
      const to = this.shownAs(item.id);
      if (!to) continue;
      const from = this.quantizers ? this.producers[item.id] : this.general(item.id, "producers");
      for (const source of from) {
        const as = this.shownAs(source), id = as + ">" + to;
        if (as && as !== to && !edges.has(id)) edges.set(id, { data: { id, source: as, target: to } });
      }
    }
    return { nodes: [...nodes.values()], edges: [...edges.values()] };
  }
  element(as) {
    const group = as[0] === "g" ? this.groups[+as.slice(1)] : null;
    const item = group ? null : this.items[+as.slice(1)];
    const small = item && QUANTIZER[item.type];
    return { data: { id: as, type: group ? "group" : item.type,
      w: small ? 118 : 158, h: small ? 20 : group ? 40 : 34 } };
  }
  label(as, text) {
    if (as[0] === "g") {
      const group = this.groups[+as.slice(1)];
      const worst = text && this.way.kind !== "category" ? " · worst " + text : text ? " · " + text : "";
      return "▸ " + short(group.label, 25) + "\n" + group.n + " nodes" + worst.slice(0, 22);
    }
    const item = this.items[+as.slice(1)];
    if (QUANTIZER[item.type]) return item.type + " " + (text || item.qtype || "").slice(0, 12);
    if (item.type !== "node") return item.type + "\n" + short(item.name, 24);
    const name = short(item.name, 24);
    return (name.toLowerCase().startsWith(item.op.toLowerCase()) ? name : item.op + " · " + short(item.name, 22 - Math.min(item.op.length, 12)))
      + "\n" + (text || "").slice(0, 28);
  }
  /* Nodes of which each only feeds the next are one box to dagre: it has half as much to order. */
  runs(data, edges) {
    const next = new Map(), before = new Map(), runs = [], of = new Map();
    for (const { data } of edges) {
      next.set(data.source, next.has(data.source) ? null : data.target);
      before.set(data.target, before.has(data.target) ? null : data.source);
    }
    const follows = id => { const from = before.get(id); return from && next.get(from) === id ? from : null; };
    for (const start of data.keys()) {
      let first = start;
      for (let from = follows(first); from && from !== start && !of.has(start); from = follows(first)) first = from;
      for (let id = first, run = null; id && !of.has(id); id = next.get(id)) {
        if (run && follows(id) !== run.ids[run.ids.length - 1]) break;
        if (!run || run.ids.length === LONGEST_RUN) runs.push(run = { key: "r" + runs.length, ids: [], h: -GAP, w: 0 });
        run.ids.push(id);
        run.h += data.get(id).h + GAP;
        run.w = Math.max(run.w, data.get(id).w);
        of.set(id, run);
      }
    }
    return { runs, of };
  }
  /* Every way from inputs to outputs leads through the runs at ``cuts``: what is between two of them
     is a graph of its own. Runs are numbered so that what feeds comes first, as late as it may. */
  cuts(runs, links) {
    for (const run of runs) { run.feeds = []; run.deep = 0; }
    for (const { from, to } of links) to.feeds.push(from);
    const read = new Set(links.map(({ from }) => from)), over = new Array(runs.length + 1).fill(0);
    const sorted = () => {
      const order = [], seen = new Set();
      for (const run of [...runs.filter(run => !read.has(run)), ...runs]) {
        const waiting = [[run, false]];
        while (waiting.length) {
          const [next, done] = waiting.pop();
          if (done) order.push(next);
          else if (!seen.has(next)) {
            seen.add(next);
            waiting.push([next, true], ...next.feeds.map(from => [from, false]));
          }
        }
      }
      return order;
    };
    for (const run of sorted()) {
      run.deep = 1 + Math.max(0, ...run.feeds.map(from => from.deep));
      run.feeds.sort((one, other) => one.deep - other.deep); // the last is gone along first
    }
    const order = sorted();
    order.forEach((run, k) => { run.k = k; });
    for (const { from, to } of links) { over[Math.min(from.k, to.k) + 1]++; over[Math.max(from.k, to.k)]--; }
    let open = 0;
    return { order, cuts: order.map((_, k) => k).filter(k => { open += over[k]; return !open; }) };
  }
  /* What dagre makes of some runs; it is asked once for blocks that are alike. */
  piece(runs, links, known) {
    const sizes = runs.map(({ w, h }) => [w, h]), ways = links.map(({ from, to }) => [from.k - runs[0].k, to.k - runs[0].k]);
    const key = JSON.stringify([sizes, ways]);
    if (known.has(key)) return known.get(key);
    const g = new dagre.graphlib.Graph();
    g.setGraph({ rankdir: "TB", nodesep: 16, ranksep: GAP, edgesep: 8,
      ranker: runs.length > 250 ? "longest-path" : "network-simplex" });
    sizes.forEach(([width, height], k) => g.setNode(k, { width, height }));
    for (const [from, to] of ways) g.setEdge(from, to, {});
    dagre.layout(g);
    const heights = new Map(), at = sizes.map((_, k) => g.node(k));
    for (const { y, height } of at) heights.set(Math.round(y), Math.max(heights.get(Math.round(y)) || 0, height));
    const passed = ways.map(([from, to]) => [at[from],
      ...g.edge(from, to).points.slice(1, -1).filter(({ y }) => heights.has(Math.round(y))), at[to]]);
    const end = (one, way) => { // whether all else is below the first, or above the last; or beside it
      const others = at.filter(other => other !== one).map(({ y }) => way * (y - one.y));
      const fits = heights.get(Math.round(one.y)) < one.height + GAP / 2;
      return fits && Math.min(...others, 1) > -1 ? (Math.min(...others, 9) > 1 ? 2 : 1) : 0;
    };
    const made = { at, passed, heights, first: end(at[0], 1), last: end(at[at.length - 1], -1) };
    known.set(key, made);
    return made;
  }
  layout(nodes, edges) {
    const data = new Map(nodes.map(node => [node.data.id, node.data])), known = new Map();
    const { runs, of } = this.runs(data, edges);
    const links = edges.map(edge => ({ edge, from: of.get(edge.data.source), to: of.get(edge.data.target) }))
      .filter(({ from, to }) => from !== to);
    let { order, cuts } = this.cuts(runs, links), pieces = [], before = 0;
    do {
      before = cuts.length;
      const within = cuts.slice(0, -1).map(() => []), piece = new Array(order.length);
      cuts.forEach((cut, k) => piece.fill(k, cut));
      for (const link of links) within[piece[Math.min(link.from.k, link.to.k)]].push(link);
      pieces = within.map((inside, k) => ({ start: cuts[k], inside, ...this.piece(order.slice(cuts[k], cuts[k + 1] + 1), inside, known) }));
      if (!pieces.length) pieces = [{ start: 0, inside: [], ...this.piece(order, [], known) }];
      // Two pieces share a run only where neither reaches past it, and at most one beside it.
      cuts = cuts.filter((_, k) => !k || k === before - 1 || (pieces[k - 1].last && pieces[k].first && pieces[k - 1].last + pieces[k].first > 2));
    } while (cuts.length < before);
    for (const { start, at, inside, passed, heights } of pieces) {
      const [one] = at, { x, y } = start ? order[start] : one, away = start ? x - order[0].x : 0;
      // Turned over where that leads back to below the first, so that a tall graph does not lean.
      const side = away * (at[at.length - 1].x - one.x) > 0 ? -1 : 1;
      const put = place => ({ x: x + side * (place.x - one.x), y: y + place.y - one.y });
      at.forEach((place, k) => Object.assign(order[start + k], put(place)));
      inside.forEach((link, k) => Object.assign(link, { passed: passed[k], heights, put }));
    }
    const places = new Map();
    for (const { x, y, h, ids } of runs) {
      let top = y - h / 2;
      for (const id of ids) {
        places.set(id, { x, y: top + data.get(id).h / 2 });
        top += data.get(id).h + GAP;
      }
    }
    for (const node of nodes) node.position = places.get(node.data.id);
    for (const link of links) this.bend(link, places);
  }
  /* What dagre routes around nodes, in cytoscape's terms: parts of the way and distances from it.
     Past the boxes of a rank an edge goes straight down; between ranks nothing is in its way. A
     corner on the border of its own box would leave cytoscape without an end to draw. */
  bend({ edge, passed, heights, put }, places) {
    const a = places.get(edge.data.source), b = places.get(edge.data.target);
    const ends = passed.length - 1, corners = [];
    passed.forEach(({ x, y, height }, k) => {
      const half = heights.get(Math.round(y)) / 2, down = (b.y > a.y ? 1 : -1) * (half + GAP / 5);
      const beside = step => Math.abs(passed[k + step].x - x) > 80 || height / 2 < half - 1;
      if (k > 0 && (k < ends || beside(-1))) corners.push(put({ x, y: y - down }));
      if (k < ends && (k > 0 || beside(1))) corners.push(put({ x, y: y + down }));
    });
    const bent = ({ x }, k) => x !== (corners[k - 1] || a).x || x !== (corners[k + 1] || b).x;
    const points = corners.filter(bent);
    const dx = b.x - a.x, dy = b.y - a.y, length = Math.hypot(dx, dy);
    if (!points.length || !length) return;
    edge.classes = "bent";
    edge.data.along = points.map(p => ((p.x - a.x) * dx + (p.y - a.y) * dy) / length ** 2);
    edge.data.beside = points.map(p => ((p.y - a.y) * dx - (p.x - a.x) * dy) / length);
  }
  draw() {
    let { nodes, edges } = this.elements();
    try {
      if (nodes.length > MOST_DRAWN) throw new RangeError("too many");
      this.layout(nodes, edges);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      const shown = nodes.length;
      const open = this.groups.filter(g => g.open);
      if (!open.length) throw error;
      for (const g of open) g.open = Boolean(g.was);
      if (open.every(g => g.open)) for (const g of open) g.open = false;
      ({ nodes, edges } = this.elements());
      this.layout(nodes, edges);
      this.say(`${shown} are too many to draw at once (${MOST_DRAWN} at most); open groups one by one`);
    }
    for (const g of this.groups) g.was = g.open;
    for (const node of nodes) Object.assign(node.data, this.painted(node.data.id));
    if (!this.cy) {
      this.cy = cytoscape({ container: this.parts.canvas, style: this.style(nodes.length), minZoom: 0.01, maxZoom: 3,
        autoungrabify: true, boxSelectionEnabled: false, hideEdgesOnViewport: nodes.length > 2000,
        elements: { nodes, edges }, layout: { name: "preset", fit: false } });
    } else {
      this.cy.batch(() => { this.cy.elements().remove(); this.cy.add({ nodes, edges }); });
    }
    this.legend();
    this.strip();
    this.mark();
  }
  style() {
    const ink = this.ink();
    return [
      { selector: "node", style: { width: "data(w)", height: "data(h)", shape: "round-rectangle",
        "background-color": "data(fill)", "border-width": 1, "border-color": ink.line, label: "data(label)",
        color: "data(ink)", "font-size": 11, "font-family": "system-ui, sans-serif", "text-wrap": "wrap",
        "text-valign": "center", "text-halign": "center", "line-height": 1.15, "min-zoomed-font-size": 6 } },
      { selector: "node[type = 'group']", style: { shape: "rectangle", "border-style": "double", "border-width": 5 } },
      { selector: "node[type = 'weight']", style: { shape: "hexagon", "font-size": 9 } },
      { selector: "node[type = 'activation']", style: { shape: "ellipse", "font-size": 9 } },
      { selector: "node[type = 'input'], node[type = 'output']", style: { shape: "cut-rectangle", "border-style": "dashed" } },
      { selector: "node[?none]", style: { color: ink.text } },
      { selector: "edge", style: { width: 1, "line-color": ink.line, "curve-style": "straight",
        "target-arrow-shape": "triangle", "target-arrow-color": ink.line, "arrow-scale": 0.7 } },
      { selector: "edge.bent", style: { "curve-style": "segments", "segment-weights": "data(along)",
        "segment-distances": "data(beside)", "edge-distances": "node-position" } },
      { selector: "node.near", style: { "border-width": 3, "border-color": ink.text } },
      { selector: "edge.near", style: { width: 3, "line-color": ink.text, "target-arrow-color": ink.text } },
      { selector: "node.found", style: { "border-width": 4, "border-color": "#0091d5" } },
      { selector: "node.chosen", style: { "border-width": 5, "border-color": "#0091d5", "border-style": "solid" } },
    ];
  }
  colour() {
    this.cy.batch(() => this.cy.nodes().forEach(node => { node.data(this.painted(node.id())); }));
    this.legend();
    this.strip();
  }
  painted(as) {
    const look = this.look(as);
    return { fill: look.fill, ink: look.none ? this.ink().text : look.ink, none: look.none, label: this.label(as, look.text) };
  }
  legend() {
    const place = this.parts.legend;
    place.replaceChildren();
    if (!this.way) return place.append(element("p", "Nothing of this network was measured."));
    place.append(element("b", this.way.label + " "));
    for (const [t, text] of this.way.legend) {
      const swatch = element("span", text, "hg-swatch");
      swatch.style.setProperty("--fill", this.shade(t));
      place.append(swatch, " ");
    }
    if (this.way.t.some(t => t !== null && t < 0)) {
      const swatch = element("span", "nan: no value at all", "hg-swatch");
      swatch.style.setProperty("--fill", this.data.nan);
      place.append(swatch, " ");
    }
    const none = element("span", "not measured", "hg-swatch");
    none.style.setProperty("--fill", this.ink().plain);
    place.append(none);
    place.append(element("small", this.way.note));
    if (this.quantizers) place.append(element("small", "Rounded boxes compute; hexagons quantize weights, ellipses activations."));
  }
  strip() {
    const canvas = this.parts.strip, context = canvas.getContext("2d");
    canvas.width = Math.max(canvas.clientWidth, 300);
    context.fillStyle = this.ink().page;
    context.fillRect(0, 0, canvas.width, canvas.height);
    const wide = canvas.width / Math.max(this.nodes.length, 1);
    this.nodes.forEach((id, place) => {
      const t = this.value(id), known = t !== null && t !== undefined;
      const scale = !this.way || this.way.kind === "category" ? 1 : t < 0 ? 1 : this.way.kind === "change" ? Math.abs(t - 0.5) * 2 : t;
      const tall = known ? 4 + 34 * scale : 2;
      context.fillStyle = known ? this.shade(t) : this.ink().line;
      context.fillRect(place * wide, canvas.height - tall, Math.max(wide - (wide > 3 ? 1 : 0), 1), tall);
    });
    if (this.chosen !== null) {
      const place = this.nodes.indexOf(this.chosen);
      context.strokeStyle = "#0091d5"; context.lineWidth = 2;
      if (place >= 0) context.strokeRect(place * wide, 1, Math.max(wide, 3), canvas.height - 2);
    }
  }

  // Going about

  start() {
    const worst = this.worstOf(this.nodes);
    this.cy.fit(undefined, 20);
    if (this.cy.zoom() < 0.55) {
      this.cy.zoom(0.85);
      const at = this.cy.getElementById(this.shownAs(worst === null ? (this.nodes[0] ?? 0) : worst) || "");
      if (at.nonempty()) this.cy.center(at);
    } else if (this.cy.zoom() > 1.2) { this.cy.zoom(1.2); this.cy.center(); }
    this.details(null);
  }
  say(text) { this.parts.status.textContent = text; }
  reveal(id) {
    if (QUANTIZER[this.items[id].type] && !this.quantizers) { this.quantizers = true; this.parts.quantizers.checked = true; }
    const closed = this.chain(this.items[id]).filter(g => !this.groups[g].open);
    for (const g of closed) this.groups[g].open = true;
    if (closed.length || this.cy.getElementById("i" + id).empty()) this.draw();
  }
  go(id, centre = true) {
    this.reveal(id);
    this.choose(this.shownAs(id), centre);
  }
  choose(as, centre) {
    if (!as) return;
    this.at = as;
    this.chosen = as[0] === "i" ? +as.slice(1) : null;
    this.mark();
    const node = this.cy.getElementById(as);
    if (centre && node.nonempty()) {
      if (this.cy.zoom() < 0.5) this.cy.zoom(0.9);
      this.cy.center(node);
    }
    this.details(as);
    this.strip();
  }
  mark() {
    this.cy.batch(() => {
      this.cy.elements().removeClass("chosen near found");
      for (const id of this.hits || []) this.cy.getElementById(this.shownAs(id) || "").addClass("found");
      const node = this.at ? this.cy.getElementById(this.at) : null;
      if (node && node.nonempty()) { node.addClass("chosen"); node.neighborhood().addClass("near"); }
    });
  }
  toggle(g, open) {
    this.groups[g].open = open;
    this.draw();
    const as = open ? this.shownAs(this.groups[g].items[0]) : this.shownAs(this.groups[g].items[0]);
    this.choose(as, true);
    this.say(`${this.groups[g].label} is ${open ? "open" : "folded"}; ${this.cy.nodes().length} on the screen`);
  }
  all(open) {
    for (const group of this.groups) group.open = open;
    this.at = null;
    this.chosen = null;
    this.say("");
    this.draw();
    this.start();
    if (!this.parts.status.textContent) this.say(`${this.cy.nodes().length} on the screen`);
  }
  move(key) {
    const node = this.at ? this.cy.getElementById(this.at) : this.cy.collection();
    if (node.empty()) return this.choose(this.cy.nodes()[0] && this.cy.nodes()[0].id(), true);
    const here = node.position();
    let near = key === "ArrowUp" ? node.incomers("node") : key === "ArrowDown" ? node.outgoers("node") : null;
    if (!near) {
      const right = key === "ArrowRight";
      near = this.cy.nodes().filter(other => {
        const p = other.position();
        return Math.abs(p.y - here.y) < 45 && (right ? p.x > here.x + 1 : p.x < here.x - 1);
      });
    }
    let best = null, least = Infinity;
    near.forEach(other => {
      const away = Math.hypot(other.position("x") - here.x, other.position("y") - here.y);
      if (away < least) { least = away; best = other; }
    });
    if (best) this.choose(best.id(), true);
    else this.say("nothing there");
  }
  find(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.hits = words.length ? this.items.filter(i => words.every(w => i.search.includes(w))).map(i => i.id) : [];
    const list = this.parts.found;
    list.replaceChildren();
    list.hidden = !words.length;
    const first = [...this.hits].sort((a, b) => (this.value(b) ?? -1) - (this.value(a) ?? -1)).slice(0, MOST_FOUND);
    for (const id of first) {
      const line = element("li");
      line.append(this.link(id));
      list.append(line);
    }
    if (words.length) this.say(`${this.hits.length} found` + (this.hits.length > MOST_FOUND ? `, ${MOST_FOUND} listed` : ""));
    this.first = first[0];
    this.mark();
  }
  link(id) {
    const item = this.items[id];
    const button = element("button", item.name, "hg-link");
    button.type = "button";
    const swatch = element("span", "", "hg-dot");
    swatch.style.setProperty("--fill", this.shade(this.value(id)));
    button.prepend(swatch);
    const text = this.text(id);
    button.append(element("small", ` ${item.op || item.type}${text ? ", " + text : ""}`));
    button.addEventListener("click", () => this.go(id));
    return button;
  }

  // Details

  details(as) {
    const panel = this.parts.panel;
    panel.replaceChildren();
    panel.classList.toggle("hg-none", !as);
    if (!as) return this.overview(panel);
    if (as[0] === "g") return this.groupDetails(panel, this.groups[+as.slice(1)]);
    const item = this.items[+as.slice(1)];
    panel.append(element("h3", item.name));
    const what = item.type === "node" ? item.op : QUANTIZER[item.type] ? item.type + " quantizer" : item.type + " of the model";
    panel.append(element("p", what + (item.qtype ? ", " + item.qtype : "")));
    this.say(`${item.name}, ${what}${this.text(item.id) ? ", " + this.way.label + " " + this.text(item.id) : ""}`);
    for (const [name, text] of item.said || []) { panel.append(element("h4", name), element("p", text)); }
    if (item.values) panel.append(this.values(item.values));
    const source = this.way && this.way.source[item.id];
    if (source !== undefined) {
      const told = element("p", "Not measured as a whole; its colour is of its worst quantizer: ");
      told.append(this.link(source));
      panel.append(told);
    }
    if (item.change) panel.append(element("h4", "change"), element("p", item.change));
    if (item.facts) {
      const list = element("dl");
      for (const [name, text] of item.facts) list.append(element("dt", name), element("dd", text));
      panel.append(list);
    }
    this.links(panel, "quantized by", item.q || []);
    this.links(panel, "fed by", this.general(item.id, "producers"));
    this.links(panel, QUANTIZER[item.type] ? "read by" : "feeds", this.general(item.id, "readers"));
    const seen = [item, ...(item.q || []).map(q => this.items[q])];
    for (const of of seen) for (const series of of.series || []) panel.append(this.histogram(of, series, of !== item));
    for (const of of seen) if (of.channels) panel.append(this.boxes(of, of !== item));
    const chain = this.chain(item);
    if (chain.length) {
      const place = element("div", null, "hg-folders");
      place.append(element("h4", "in"));
      for (const g of chain) place.append(this.folder(g, "Fold " + this.groups[g].label, false));
      panel.append(place);
    }
  }
  overview(panel) {
    const worst = this.nodes.filter(id => this.value(id) !== null && this.value(id) !== undefined);
    if (this.way && this.way.kind !== "category") worst.sort((a, b) => this.bad(this.value(b)) - this.bad(this.value(a)));
    panel.append(element("h3", `${this.nodes.length} nodes`));
    panel.append(element("p", "Choose a node to see what is known of it."));
    if (worst.length) this.links(panel, this.way.kind === "category" ? "some nodes" : "worst", worst.slice(0, 10));
  }
  groupDetails(panel, group) {
    const nodes = group.items.filter(id => this.items[id].type === "node");
    panel.append(element("h3", group.label), element("p", `${group.n} nodes, folded`));
    panel.append(this.folder(group.id, "Open", true));
    if (group.up !== null) panel.append(this.folder(group.up, "Fold " + this.groups[group.up].label, false));
    const worst = nodes.filter(id => this.value(id) !== null);
    if (this.way && this.way.kind !== "category") worst.sort((a, b) => this.bad(this.value(b)) - this.bad(this.value(a)));
    this.links(panel, "worst in it", worst.slice(0, 8));
    this.say(`${group.label}, ${group.n} nodes, folded; Enter opens it`);
  }
  folder(g, text, open) {
    const button = element("button", text);
    button.type = "button";
    button.addEventListener("click", () => this.toggle(g, open));
    return button;
  }
  links(panel, heading, ids) {
    if (!ids.length) return;
    const list = element("ul", null, "hg-links");
    for (const id of ids.slice(0, 30)) { const line = element("li"); line.append(this.link(id)); list.append(line); }
    panel.append(element("h4", heading), list);
    if (ids.length > 30) panel.append(element("p", `and ${ids.length - 30} more`));
  }
  values(rows) {
    const table = element("table"), head = element("tr");
    for (const name of ["alone", "value", "interval", "rank"]) head.append(element("th", name));
    table.append(head);
    for (const row of rows) {
      const line = element("tr");
      for (const text of row) line.append(element("td", text));
      table.append(line);
    }
    return table;
  }
  histogram(item, series, named) {
    const figure = element("figure"), most = Math.max(...series.counts, 1), n = series.counts.length;
    const of = (named ? item.name + ", " : "") + series.series;
    figure.append(element("figcaption", of + ": " + series.told));
    if (!n || series.low === null || series.high === null) return figure;
    const svg = drawn("svg", { viewBox: "0 0 300 92", role: "img", "aria-label": "histogram of " + of });
    series.counts.forEach((count, k) => {
      const tall = count ? Math.max(74 * Math.log1p(count) / Math.log1p(most), 1) : 0;
      svg.append(drawn("rect", { x: 300 * k / n, y: 76 - tall, width: 300 / n - 0.6, height: tall, fill: "#3b83bd" }));
    });
    const span = series.high - series.low;
    for (const edge of series.threshold === null || !span ? [] : [-series.threshold, series.threshold]) {
      const x = 300 * (edge - series.low) / span;
      if (x >= 0 && x <= 300) svg.append(drawn("line", { x1: x, x2: x, y1: 0, y2: 76, stroke: "#d55e00", "stroke-width": 1.5, "stroke-dasharray": "4 3" }));
    }
    const ends = [[0, "start", series.low], [300, "end", series.high]];
    for (const [x, anchor, value] of ends) {
      const label = drawn("text", { x, y: 89, "text-anchor": anchor, class: "hg-tick" });
      label.textContent = value.toPrecision(4);
      svg.append(label);
    }
    figure.append(svg, element("small", "counts on a log scale" + (series.threshold === null ? "" : "; dashed: threshold ±" + series.threshold.toPrecision(4))));
    return figure;
  }
  boxes(item, named) {
    const { boxes, channels, axis } = item.channels, figure = element("figure");
    const left = channels > boxes.length ? `, the ${boxes.length} widest shown` : "";
    figure.append(element("figcaption", `${named ? item.name + ", " : ""}${channels} channels of axis ${axis}${left}`));
    if (!boxes.length) return figure;
    const low = Math.min(...boxes.map(b => b[1])), high = Math.max(...boxes.map(b => b[5]));
    const y = v => 84 - 78 * (v - low) / (high - low || 1), wide = 300 / boxes.length;
    const svg = drawn("svg", { viewBox: "0 0 300 90", role: "img", "aria-label": "box plot of the channels of " + item.name });
    boxes.forEach(([channel, min, q25, median, q75, max], k) => {
      const x = (k + 0.5) * wide;
      svg.append(drawn("line", { x1: x, x2: x, y1: y(min), y2: y(max), stroke: "#888888" }));
      const box = drawn("rect", { x: x - wide * 0.35, width: wide * 0.7, y: y(q75), height: Math.max(y(q25) - y(q75), 1), fill: "#3b83bd" });
      const title = drawn("title", {});
      title.textContent = `channel ${channel}: ${min} to ${max}, median ${median}`;
      box.append(title);
      svg.append(box);
    });
    figure.append(svg, element("small", `${low.toPrecision(4)} to ${high.toPrecision(4)}; boxes are quartiles, lines reach from least to largest`));
    return figure;
  }

  // Controls

  choices() {
    const groups = {};
    this.data.ways.forEach((way, k) => {
      if (!groups[way.heading]) {
        groups[way.heading] = element("optgroup");
        groups[way.heading].label = way.heading;
        this.parts.colour.append(groups[way.heading]);
      }
      const option = element("option", way.label);
      option.value = k;
      groups[way.heading].append(option);
    });
    this.parts.quantizers.checked = this.quantizers;
  }
  listen() {
    const { parts, cy } = this;
    const on = (part, what, act) => parts[part].addEventListener(what, act);
    on("colour", "change", () => {
      this.way = this.data.ways[+parts.colour.value];
      this.colour();
      this.details(this.at || null);
    });
    on("search", "input", () => this.find(parts.search.value));
    on("search", "keydown", event => {
      if (event.key === "Enter" && this.first !== undefined) { this.go(this.first); parts.canvas.focus({ preventScroll: true }); }
      if (event.key === "Escape") { parts.search.value = ""; this.find(""); parts.canvas.focus(); }
    });
    on("quantizers", "change", () => { this.quantizers = parts.quantizers.checked; this.draw(); });
    on("fold", "click", () => this.all(false));
    on("unfold", "click", () => this.all(true));
    on("fit", "click", () => cy.fit(undefined, 20));
    on("worst", "click", () => this.toWorst());
    on("in", "click", () => this.zoom(1.3));
    on("out", "click", () => this.zoom(1 / 1.3));
    on("theme", "click", () => { document.documentElement.dataset.theme = this.dark ? "light" : "dark"; this.repaint(); });
    on("strip", "click", event => {
      const place = Math.floor(event.offsetX / parts.strip.clientWidth * this.nodes.length);
      if (this.nodes[place] !== undefined) this.go(this.nodes[place]);
    });
    on("canvas", "keydown", event => this.key(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.repaint());
    cy.on("tap", "node", event => {
      parts.canvas.focus({ preventScroll: true });
      const as = event.target.id();
      if (as[0] === "g" && this.at === as) this.toggle(+as.slice(1), true);
      else this.choose(as, false);
    });
    cy.on("dbltap", "node[type = 'group']", event => { if (this.groups[+event.target.id().slice(1)].open === false) this.toggle(+event.target.id().slice(1), true); });
    addEventListener("resize", () => this.strip());
    addEventListener("beforeprint", () => this.print());
  }
  repaint() { this.cy.style(this.style()); this.colour(); this.details(this.at || null); }
  toWorst() { const worst = this.worstOf(this.nodes); if (worst !== null) this.go(worst); }
  zoom(by) {
    const box = this.parts.canvas.getBoundingClientRect();
    this.cy.zoom({ level: this.cy.zoom() * by, renderedPosition: { x: box.width / 2, y: box.height / 2 } });
  }
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      "+": () => this.zoom(1.3), "=": () => this.zoom(1.3), "-": () => this.zoom(1 / 1.3),
      0: () => this.cy.fit(undefined, 20), w: () => this.toWorst(), "/": () => this.parts.search.focus(),
      Enter: () => { if (this.at && this.at[0] === "g") this.toggle(+this.at.slice(1), true); else this.parts.panel.focus(); },
      f: () => {
        const g = !this.at ? undefined : this.at[0] === "g" ? this.groups[+this.at.slice(1)].up : this.items[+this.at.slice(1)].g;
        if (g !== undefined && g !== null) this.toggle(g, false); else this.say("it is in no group");
      },
    };
    const act = event.key.startsWith("Arrow") ? () => this.move(event.key) : acts[event.key];
    if (act) { event.preventDefault(); act(); }
  }
  print() {
    const whole = this.cy.elements().boundingBox();
    const fits = whole.h < 1800 && whole.w < 2400;
    this.parts.print.src = this.cy.png({ full: fits, scale: fits ? 1 : 2, bg: this.ink().page, maxWidth: 2400, maxHeight: 2400 });
  }
}

class List {
  constructor(root, graph) {
    this.body = root.querySelector("tbody");
    this.rows = [...this.body.rows];
    this.count = root.querySelector(".hg-count");
    const heads = [...root.querySelectorAll("th")];
    heads.forEach((head, k) => head.firstElementChild.addEventListener("click", () => this.sort(heads, k)));
    root.querySelector(".hg-filter").addEventListener("input", event => this.filter(event.target.value));
    this.body.addEventListener("click", event => {
      const button = event.target.closest(".hg-go");
      if (!button || !graph) return;
      graph.go(+button.closest("tr").dataset.item);
      graph.root.scrollIntoView({ block: "start" });
    });
    this.filter("");
  }
  sort(heads, k) {
    unfold();
    const up = heads[k].ariaSort === "ascending";
    heads.forEach(head => { head.ariaSort = "none"; });
    heads[k].ariaSort = up ? "descending" : "ascending";
    const number = heads[k].classList.contains("hg-number");
    const key = row => number ? (row.cells[k].dataset.key === "inf" ? Infinity : row.cells[k].dataset.key === "-inf" ? -Infinity : +row.cells[k].dataset.key) : row.cells[k].textContent;
    const first = k === 0 || !number ? 1 : -1; // of numbers the worst first
    const keyed = this.rows.map((row, place) => [key(row), place, row]);
    const less = (a, b) => a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
    keyed.sort((a, b) => (up ? -1 : 1) * first * less(a, b) || a[1] - b[1]);
    this.body.append(...keyed.map(entry => entry[2]));
  }
  filter(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    if (words.length) unfold();
    if (!words.length && this.rows.every(row => !row.hidden)) {
      this.count.textContent = `${this.rows.length} rows`;
      return;
    }
    for (const row of this.rows) {
      const has = row.textContent.toLowerCase();
      row.hidden = !words.every(word => has.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    this.count.textContent = words.length ? `${shown} of ${this.rows.length} rows` : `${this.rows.length} rows`;
  }
}

/* The rows of the list, of which each costs as much as a node, are laid out when the graph is on the
   screen; many only when they come into sight, are looked for or printed. */
const drawing = document.documentElement.classList, unfold = () => drawing.remove("hg-drawing");
const near = new IntersectionObserver(seen => { if (seen.some(one => one.isIntersecting)) unfold(); }, { rootMargin: "100px" });
requestAnimationFrame(() => setTimeout(() => {
  for (const list of document.querySelectorAll(".hg-list")) {
    if (list.querySelectorAll("tbody tr").length > 300) near.observe(list);
    else unfold();
  }
}));
addEventListener("keydown", event => { if ((event.ctrlKey || event.metaKey) && event.key === "f") unfold(); });
addEventListener("beforeprint", unfold);
/* Paper has no buttons: what is folded is printed, too. */
addEventListener("beforeprint", () => document.querySelectorAll("details:not([open])").forEach(d => { d.open = true; d.dataset.was = ""; }));
addEventListener("afterprint", () => document.querySelectorAll("details[data-was]").forEach(d => { d.open = false; delete d.dataset.was; }));
const graphs = [...document.querySelectorAll(".hg")].map(root => new Graph(root));
document.querySelectorAll(".hg-list").forEach(root => new List(root, graphs[0]));
if (location.hash === "#dark" || location.hash === "#light") {
  document.documentElement.dataset.theme = location.hash.slice(1);
  graphs.forEach(graph => graph.repaint());
}
window.hmctGraph = graphs[0];
})();
