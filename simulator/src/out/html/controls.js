// Mouse, touch, keyboard, buttons.

const filter = byId("filter");
let naming = 0;

function choose(i, isNear) {
  state.chosen = i;
  if (i < 0) {
    redraw();
    return;
  }
  showPanel(i);
  if (isNear) {
    const y = startOf(i);
    const room = state.height - HEAD - 2 * PAD;
    if (y < top() || y > top() + room) timeline.scrollTop = y - room / 3;
    const x = markX(i) - timeline.scrollLeft;
    if (x < 0 || x > timeline.clientWidth) timeline.scrollLeft = markX(i) - timeline.clientWidth / 2;
  }
  clearTimeout(naming);
  // Browsers limit how often an address may change.
  naming = setTimeout(() => history.replaceState(null, "", `#e${items.entry[i]}`), 300);
  redraw();
}

// Filters anew; the chosen event stays where it is if it is still there.
function refilter() {
  select(filter.value);
  state.usual = usualGap();
  byId("shown").textContent = `${axis.shown.length.toLocaleString("en")} of ${count.toLocaleString("en")}`;
  measure();
  if (state.chosen >= 0) choose(state.chosen, true);
}

// Zooms around a height of the view.
function zoom(factor, middle = state.height / 2) {
  const y = top() + middle - HEAD - PAD;
  const row = Math.max(0, firstFrom(axis.rows.length, (n) => axis.rows[n], y));
  if (axis.isEven) {
    axis.step = Math.min(60, Math.max(0.005, axis.step * factor));
  } else {
    axis.rate = Math.min(1, Math.max(1e-12, axis.rate * factor));
  }
  place();
  measure();
  timeline.scrollTop = (axis.rows[Math.min(row, axis.rows.length - 1)] ?? 0) - middle + HEAD + PAD;
}

function fit() {
  const room = Math.max(50, state.height - HEAD - 2 * PAD);
  if (axis.isEven) {
    axis.step = Math.min(40, room / Math.max(1, axis.times.length - 1));
    place();
  } else {
    // Folding makes the height no product of the rate: come near by halving.
    let [low, high] = [1e-12, 1];
    for (let n = 0; n < 60; n++) {
      axis.rate = Math.sqrt(low * high);
      place();
      if (axis.height > room) high = axis.rate; else low = axis.rate;
    }
  }
  measure();
  timeline.scrollTop = 0;
}

function setScale(isEven) {
  axis.isEven = isEven;
  if (!isEven) axis.rate = 16 / state.usual;
  place();
  measure();
  if (state.chosen >= 0) choose(state.chosen, true);
}

// What stands at a point of the view.
function itemAt(x, y) {
  let [best, least] = [-1, 12];
  const from = top() - HEAD - PAD + y;
  eachBetween(from - 14, from + 14, (i) => {
    let distance;
    if (isPacket(items.kind[i])) {
      distance = toLine(x, y, ends(i));
    } else {
      const beside = x - markX(i);
      const isOnText = beside > 0 && beside < state.gap - 20;
      distance = Math.hypot(isOnText ? 0 : beside, y - viewY(startOf(i))) - (isOnText ? 0 : 2);
    }
    if (distance < least) [best, least] = [i, distance];
  });
  return best;
}

function toLine(x, y, { x1, y1, x2, y2 }) {
  const [dx, dy] = [x2 - x1, y2 - y1];
  const along = ((x - x1) * dx + (y - y1) * dy) / Math.max(1, dx * dx + dy * dy);
  const at = Math.min(1, Math.max(0, along));
  return Math.hypot(x - x1 - at * dx, y - y1 - at * dy);
}

view.addEventListener("click", (event) => {
  const i = itemAt(event.offsetX, event.offsetY);
  if (i >= 0) choose(i, false);
});
view.addEventListener("pointermove", (event) => {
  if (event.pointerType !== "mouse") return;
  const i = itemAt(event.offsetX, event.offsetY);
  view.style.cursor = i < 0 ? "default" : "pointer";
  if (i !== state.hovered) {
    state.hovered = i;
    redraw();
  }
});
timeline.addEventListener("scroll", redraw, { passive: true });
timeline.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 300), event.offsetY);
}, { passive: false });

function goTo(event) {
  const part = event.offsetY / map.clientHeight;
  timeline.scrollTop = part * space.offsetHeight - state.height / 2;
}
map.addEventListener("pointerdown", (event) => {
  map.setPointerCapture(event.pointerId);
  goTo(event);
});
map.addEventListener("pointermove", (event) => {
  if (map.hasPointerCapture(event.pointerId)) goTo(event);
});

const nextFault = (direction) => {
  const from = state.chosen >= 0 ? state.chosen : -1;
  const found = seek(from, direction, (i) => isBad(items.kind[i]));
  const again = found >= 0 ? found : seek(direction > 0 ? -1 : count, direction, (i) => isBad(items.kind[i]));
  if (again >= 0) choose(again, true);
};
const move = (direction) => {
  const next = state.chosen < 0 ? axis.shown[0] ?? -1 : seek(state.chosen, direction, () => true);
  if (next >= 0) choose(next, true);
};
const KEYS = {
  ArrowDown: () => move(1), j: () => move(1), ArrowUp: () => move(-1), k: () => move(-1),
  ArrowRight: () => { const i = kin(state.chosen, 1); if (i >= 0) choose(i, true); },
  ArrowLeft: () => { const i = kin(state.chosen, -1); if (i >= 0) choose(i, true); },
  f: () => nextFault(1), F: () => nextFault(-1),
  Home: () => choose(axis.shown[0] ?? -1, true),
  End: () => choose(axis.shown[axis.shown.length - 1] ?? -1, true),
  "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4),
  Enter: () => panel.focus(), Escape: () => choose(-1, false),
};
document.addEventListener("keydown", (event) => {
  const act = KEYS[event.key];
  const isTaken = event.target.closest("input, select, button, summary, aside");
  if (!act || isTaken || event.ctrlKey || event.metaKey || event.altKey) return;
  if (state.chosen < 0 && (event.key === "ArrowLeft" || event.key === "ArrowRight")) return;
  event.preventDefault();
  act();
});
panel.addEventListener("keydown", (event) => {
  if (event.key === "Escape") timeline.focus({ preventScroll: true });
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== filter) {
    event.preventDefault();
    filter.focus();
  }
});

let pending = 0;
filter.addEventListener("input", () => {
  clearTimeout(pending);
  pending = setTimeout(refilter, 150);
});
byId("zoom-in").addEventListener("click", () => zoom(1.4));
byId("zoom-out").addEventListener("click", () => zoom(1 / 1.4));
byId("fit").addEventListener("click", fit);
byId("scale").addEventListener("change", (event) => setScale(event.target.value === "even"));
byId("next-fault").addEventListener("click", () => nextFault(1));
byId("copy").addEventListener("click", async (event) => {
  const code = byId("replay");
  try {
    await navigator.clipboard.writeText(code.textContent);
    event.target.textContent = "Copied";
  } catch {
    // Without the clipboard it is at least selected.
    getSelection().selectAllChildren(code);
    event.target.textContent = "Selected";
  }
  setTimeout(() => { event.target.textContent = "Copy"; }, 1500);
});

// The legend shows each kind's shape in its colour, and switches it.
function drawLegend() {
  byId("legend").querySelectorAll("canvas").forEach((canvas, kind) => {
    resize(canvas, 18, 14);
    const cx = canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    cx.setTransform(ratio, 0, 0, ratio, 0, 0);
    cx.strokeStyle = cx.fillStyle = colours[COLOURS[kind]];
    if (kind === KIND.fill) {
      cx.globalAlpha = 0.5;
      cx.fillRect(2, 2, 14, 10);
    } else if (isPacket(kind)) {
      cx.lineWidth = 1.5;
      cx.beginPath();
      cx.moveTo(1, 7);
      cx.lineTo(kind === KIND.lost ? 10 : 15, 7);
      cx.stroke();
      cx.beginPath();
      if (kind === KIND.lost) {
        cross(cx, 12, 7);
        cx.stroke();
      } else {
        arrowHead(cx, 1, 7, 17, 7);
        cx.fill();
      }
    } else {
      shape(cx, kind, kind === KIND.action ? 5 : 9, 7);
    }
  });
}

function makeLegend() {
  const present = new Set(items.kind);
  data.kinds.forEach(([name], kind) => {
    const button = element("button", undefined, element("canvas"), name);
    button.type = "button";
    button.hidden = !present.has(kind);
    button.setAttribute("aria-pressed", isKindShown[kind]);
    button.addEventListener("click", () => {
      isKindShown[kind] = !isKindShown[kind];
      button.setAttribute("aria-pressed", isKindShown[kind]);
      refilter();
    });
    byId("legend").append(button);
  });
}

function makeHead() {
  byId("title").textContent = data.title;
  const verdict = byId("verdict");
  verdict.textContent = data.passed ? "✓ passed" : "✗ failed";
  verdict.classList.add(data.passed ? "good" : "bad");
  if (!data.passed) {
    byId("violation").hidden = false;
    byId("violation").textContent = data.verdict.replace(/^failed: /, "");
  }
  for (const [name, value] of data.facts) {
    byId("facts").append(element("div", undefined, element("dt", name), element("dd", value)));
  }
  byId("replay").textContent = data.replay;
  const minimised = byId("minimised");
  if (data.minimised.length > 0) {
    minimised.hidden = false;
    minimised.open = data.minimised.length <= 8 && innerWidth > 800;
    minimised.querySelector("summary").textContent = `${data.minimised.length} ${data.minimised.length === 1 ? "choice" : "choices"} made in the seed's place`;
    minimised.querySelector("ol").append(...data.minimised.map((line) => element("li", line)));
  }
  byId("next-fault").hidden = !items.kind.some(isBad);
}

function chooseFromAddress() {
  const wanted = /^#e(\d+)$/.exec(location.hash);
  if (!wanted) return;
  const i = axis.shown.find((n) => items.entry[n] <= wanted[1] && items.last[n] >= wanted[1]
    && (items.entry[n] == wanted[1] || items.last[n] == wanted[1]));
  if (i !== undefined) choose(i, true);
}

function recolour() {
  readColours();
  drawLegend();
  redraw();
}

makeHead();
makeLegend();
recolour();
refilter();
chooseFromAddress();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
new ResizeObserver(measure).observe(timeline);
