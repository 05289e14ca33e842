// The picture: lanes, arrows, marks, pipe fill, and the map beside it.

const byId = (id) => document.getElementById(id);
const timeline = byId("timeline");
const space = byId("space");
const view = byId("view");
const map = byId("map");

const HEAD = 44;
const PAD = 26;
const FILL_WIDTH = 30;
const FONT = '12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif';

const state = { chosen: -1, hovered: -1, width: 0, height: 0, gutter: 84, gap: 200, isDue: false };
let colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ground", "raised", "ink", "soft", "line", "accent", "chosen", ...COLOURS];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

// Text stands to the right of lanes, so there is more room on that side.
const laneX = (lane) => state.gutter + (hosts[lane]?.place + 0.22) * state.gap;
const top = () => timeline.scrollTop;
// Height on the axis to height in the view.
const viewY = (y) => y - top() + HEAD + PAD;

// Fits canvas and scrolled height to the window and the axis.
function measure() {
  const { clientWidth, clientHeight } = timeline;
  state.gutter = clientWidth < 600 ? 58 : 84;
  const least = clientWidth < 600 ? 96 : 150;
  state.gap = Math.max(least, (clientWidth - state.gutter) / Math.max(1, hosts.length));
  state.width = Math.max(clientWidth, state.gutter + state.gap * hosts.length);
  state.height = clientHeight;
  space.style.width = `${state.width}px`;
  space.style.height = `${Math.max(clientHeight, axis.height + HEAD + 2 * PAD)}px`;
  resize(view, state.width, clientHeight);
  resize(map, 18, byId("stage").clientHeight);
  redraw();
}

function resize(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
}

function redraw() {
  if (state.isDue) return;
  state.isDue = true;
  requestAnimationFrame(() => {
    state.isDue = false;
    draw();
    drawMap();
  });
}

function draw() {
  const cx = view.getContext("2d");
  const ratio = window.devicePixelRatio || 1;
  cx.setTransform(ratio, 0, 0, ratio, 0, 0);
  cx.fillStyle = colours.ground;
  cx.fillRect(0, 0, state.width, state.height);
  cx.font = FONT;
  cx.textBaseline = "middle";
  const from = top() - HEAD - PAD;
  const to = from + state.height;
  drawLanes(cx);
  drawTimes(cx, from, to);
  for (let lane = 0; lane < hosts.length; lane++) drawFill(cx, lane, from, to);
  if (state.chosen >= 0) drawBand(cx);
  const arrows = new Arrows();
  const crossing = [];
  const begun = [];
  eachBetween(from, to, (i) => {
    const isBegun = startOf(i) >= from - MARGIN;
    if (isBegun) begun.push(i);
    if (!isPacket(items.kind[i])) return;
    if (isBegun || endOf(i) <= to) arrows.add(i); else crossing.push(i);
  });
  // Of lines that only pass through, as many as can be told apart.
  const every = Math.ceil(crossing.length / CROSSING_MAX);
  crossing.forEach((i, n) => {
    if (n % every === 0 || i === state.chosen) arrows.add(i);
  });
  arrows.draw(cx);
  for (const i of begun) if (!isPacket(items.kind[i])) drawMark(cx, i);
  const busy = new Map();
  for (const i of begun) drawLabel(cx, i, busy);
  drawHead(cx);
}

// How far lines are drawn outside of the view.
const MARGIN = 20;
// Most lines that neither begin nor end in the view.
const CROSSING_MAX = 1000;

// The part of a line that can be seen: painters are slow with lines of a million pixels.
function inView({ x1, y1, x2, y2 }) {
  const slope = (x2 - x1) / Math.max(1e-9, y2 - y1);
  const bottom = state.height + MARGIN;
  const [from, to] = [Math.max(y1, -MARGIN), Math.min(y2, bottom)];
  return [x1 + (from - y1) * slope, from, x2 - (y2 - to) * slope, to];
}

// All arrows of a view: those of one kind are one path, and of those that would cover each other
// one is drawn.
class Arrows {
  paths = new Map();
  seen = new Set();

  add(i) {
    const arrow = ends(i);
    const [x1, y1, x2, y2] = inView(arrow);
    const { isUnheard } = arrow;
    const kind = items.kind[i];
    const isMarked = i === state.chosen || i === state.hovered;
    const pixels = [kind, x1, x2, y1 + MARGIN, y2 + MARGIN];
    const place = pixels.reduce((sum, value) => sum * 3000 + Math.floor(Math.max(0, value)), 0);
    if (this.seen.has(place) && !isMarked) return;
    this.seen.add(place);
    const key = `${kind} ${isUnheard} ${isMarked}`;
    let path = this.paths.get(key);
    if (!path) {
      path = { kind, isUnheard, isMarked, lines: new Path2D(), tips: new Path2D() };
      this.paths.set(key, path);
    }
    path.lines.moveTo(x1, y1);
    path.lines.lineTo(x2, y2);
    if (arrow.y2 !== y2) return;
    if (kind === KIND.lost) cross(path.tips, x2, y2);
    else if (!isUnheard) arrowHead(path.tips, x1, y1, x2, y2);
  }

  draw(cx) {
    const isDense = this.seen.size > 1500;
    for (const { kind, isUnheard, isMarked, lines, tips } of this.paths.values()) {
      cx.strokeStyle = cx.fillStyle = colours[COLOURS[kind]];
      cx.lineWidth = isMarked ? 2.5 : isDense ? 0.6 : 1.25;
      cx.setLineDash(isUnheard ? [5, 3] : []);
      cx.stroke(lines);
      cx.setLineDash([]);
      if (kind === KIND.lost) {
        cx.lineWidth = 2;
        cx.stroke(tips);
      } else if (!isDense) {
        cx.fill(tips);
      }
    }
  }
}

function drawLanes(cx) {
  cx.strokeStyle = colours.line;
  cx.lineWidth = 1;
  for (let lane = 0; lane < hosts.length; lane++) {
    const x = Math.round(laneX(lane)) + 0.5;
    cx.beginPath();
    cx.moveTo(x, HEAD);
    cx.lineTo(x, state.height);
    cx.stroke();
  }
}

// Times at the left, and lines where time was folded or jumps.
function drawTimes(cx, from, to) {
  const { rows, times } = axis;
  const usual = state.usual;
  let row = firstFrom(rows.length, (n) => rows[n], from);
  let free = -Infinity;
  let last = -1;
  cx.textAlign = "right";
  for (; row < rows.length && rows[row] <= to; row++) {
    const y = viewY(rows[row]);
    const gap = row > 0 ? times[row] - times[row - 1] : 0;
    const room = row > 0 ? rows[row] - rows[row - 1] : 0;
    if (gap > 200 * usual && room > 8) {
      cx.strokeStyle = colours.line;
      cx.setLineDash([2, 4]);
      const middle = y - room / 2;
      cx.beginPath();
      cx.moveTo(state.gutter, middle);
      cx.lineTo(state.width, middle);
      cx.stroke();
      cx.setLineDash([]);
    }
    if (y < free || (times[row] === last && y < free + 400)) continue;
    last = times[row];
    cx.fillStyle = colours.soft;
    cx.fillText(clock(times[row]), state.gutter - 8, y, state.gutter - 10);
    free = y + 18;
  }
}

function drawFill(cx, lane, from, to) {
  if (!isKindShown[KIND.fill]) return;
  const { fills } = hosts[lane];
  if (fills.length === 0) return;
  const x = laneX(lane);
  const width = (n) => (items.fill[fills[n]] / fillMax) * FILL_WIDTH;
  let n = Math.max(0, firstFrom(fills.length, (k) => heightOf(items.entry[fills[k]]), from) - 1);
  cx.fillStyle = colours.fill;
  cx.globalAlpha = 0.35;
  cx.beginPath();
  for (; n < fills.length; n++) {
    const y = heightOf(items.entry[fills[n]]);
    if (y > to) break;
    // What waits in the end waits until the end.
    const next = n + 1 < fills.length ? heightOf(items.entry[fills[n + 1]]) : axis.height;
    if (width(n) > 0) cx.rect(x, viewY(y), Math.max(1, width(n)), Math.max(1, next - y));
  }
  cx.fill();
  cx.globalAlpha = 1;
}

function drawBand(cx) {
  const y = viewY(startOf(state.chosen));
  const height = Math.max(14, Math.min(20, axis.step));
  cx.fillStyle = colours.chosen;
  cx.fillRect(state.gutter, y - height / 2, state.width, height);
}

// Away from a lane, where there is room.
const outward = (lane) => (hosts[lane]?.place === hosts.length - 1 ? -1 : 1);

// Where a packet's arrow begins and ends.
function ends(i) {
  const [lane, toLane] = [items.lane[i], items.toLane[i]];
  const y1 = viewY(startOf(i));
  const y2 = viewY(endOf(i));
  const reach = Math.min(state.gap * 0.45, 120);
  let x1 = laneX(lane);
  let x2 = laneX(toLane);
  const isUnheard = items.kind[i] === KIND.lost || items.span[i] === 0;
  if (lane < 0) {
    x1 = x2 + outward(toLane) * reach;
  } else if (toLane < 0) {
    x2 = x1 + outward(lane) * reach;
  } else if (lane === toLane) {
    x2 = x1 + Math.min(28, reach);
  } else if (isUnheard) {
    x2 = x1 + (x2 - x1) * 0.55;
  }
  return { x1, y1, x2, y2, isUnheard: isUnheard && lane >= 0 };
}

// Both add to a path.
function cross(path, x, y) {
  path.moveTo(x - 4, y - 4);
  path.lineTo(x + 4, y + 4);
  path.moveTo(x + 4, y - 4);
  path.lineTo(x - 4, y + 4);
}

function arrowHead(path, x1, y1, x2, y2) {
  const angle = Math.atan2(y2 - y1, x2 - x1);
  const wing = (turn) => [x2 - 8 * Math.cos(angle + turn), y2 - 8 * Math.sin(angle + turn)];
  path.moveTo(x2, y2);
  path.lineTo(...wing(0.4));
  path.lineTo(...wing(-0.4));
  path.closePath();
}

// Every kind has a shape of its own, so that nobody needs the colours.
function shape(cx, kind, x, y) {
  cx.beginPath();
  if (kind === KIND.action) {
    cx.moveTo(x, y - 4); cx.lineTo(x + 7, y); cx.lineTo(x, y + 4);
  } else if (kind === KIND.input) {
    cx.moveTo(x, y - 4); cx.lineTo(x - 7, y); cx.lineTo(x, y + 4);
  } else if (kind === KIND.fault) {
    cx.moveTo(x, y - 6); cx.lineTo(x + 6, y); cx.lineTo(x, y + 6); cx.lineTo(x - 6, y);
  } else if (kind === KIND.network) {
    cx.rect(x - 3.5, y - 1.5, 7, 3);
  } else if (kind === KIND.machine) {
    cx.rect(x - 4, y - 4, 8, 8);
  } else {
    cx.arc(x, y, kind === KIND.socket ? 2 : 4, 0, 7);
  }
  cx.closePath();
  if (kind === KIND.timerFired || kind === KIND.timerSet) {
    cx.lineWidth = 1.5;
    cx.stroke();
    if (kind === KIND.timerFired) {
      cx.beginPath();
      cx.moveTo(x, y - 2.5); cx.lineTo(x, y); cx.lineTo(x + 2, y);
      cx.stroke();
    }
  } else {
    cx.fill();
  }
}

const markX = (i) => (items.lane[i] < 0 ? state.gutter + 8 : laneX(items.lane[i]));

function drawMark(cx, i) {
  const kind = items.kind[i];
  const [x, y] = [markX(i), viewY(startOf(i))];
  cx.strokeStyle = cx.fillStyle = colours[COLOURS[kind]];
  if (kind === KIND.fault) {
    cx.lineWidth = 1;
    cx.globalAlpha = 0.6;
    cx.beginPath();
    cx.moveTo(state.gutter, y);
    cx.lineTo(state.width, y);
    cx.stroke();
    cx.globalAlpha = 1;
  }
  shape(cx, kind, x, y);
  if (i === state.hovered) {
    cx.strokeStyle = colours.ink;
    cx.lineWidth = 1.5;
    cx.beginPath();
    cx.arc(x, y, 8, 0, 7);
    cx.stroke();
  }
}

// `busy` knows down to which height each lane's text is taken.
function drawLabel(cx, i, busy) {
  const text = strings[items.label[i]];
  // Where rows are closer than text, lengths say nothing.
  if (axis.step < 9 && axis.isEven && /^\d+ bytes?$/.test(text) && i !== state.chosen) return;
  const lane = Math.max(items.lane[i], items.lane[i] < 0 ? items.toLane[i] : 0, 0);
  let x;
  let y;
  let isLeft = false;
  if (isPacket(items.kind[i])) {
    const arrow = ends(i);
    isLeft = arrow.x2 < arrow.x1;
    x = arrow.x1 + (isLeft ? -10 : 10);
    y = arrow.y1 - (axis.step >= 16 ? 5 : 0);
  } else {
    x = markX(i) + 11;
    y = viewY(startOf(i));
  }
  const side = lane * 2 + (isLeft ? 1 : 0);
  if (y < (busy.get(side) ?? -Infinity) || y < HEAD - 10) return;
  busy.set(side, y + 12);
  // Text has its row for itself as long as rows are apart.
  const isAlone = axis.isEven && axis.step >= 16;
  const most = isAlone ? state.gap * (isPacket(items.kind[i]) ? 1.7 : 99) : state.gap - 26;
  const room = Math.min(most, isLeft ? x - state.gutter : state.width - x - 4);
  cx.textAlign = isLeft ? "right" : "left";
  cx.lineJoin = "round";
  cx.lineWidth = 3.5;
  cx.strokeStyle = i === state.chosen ? colours.chosen : colours.ground;
  cx.fillStyle = isBad(items.kind[i]) ? colours.bad : colours.ink;
  const shown = clipped(cx, text, room);
  cx.strokeText(shown, x, y);
  cx.fillText(shown, x, y);
}

function clipped(cx, text, room) {
  if (text.length * 8 < room || cx.measureText(text).width <= room) return text;
  let length = Math.floor(room / 6);
  while (length > 1 && cx.measureText(`${text.slice(0, length)}…`).width > room) length--;
  return `${text.slice(0, length)}…`;
}

function drawHead(cx) {
  cx.fillStyle = colours.raised;
  cx.fillRect(0, 0, state.width, HEAD);
  cx.strokeStyle = colours.line;
  cx.lineWidth = 1;
  cx.beginPath();
  cx.moveTo(0, HEAD - 0.5);
  cx.lineTo(state.width, HEAD - 0.5);
  cx.stroke();
  cx.textAlign = "left";
  const room = state.gap - 10;
  hosts.forEach(({ name, addresses }, lane) => {
    cx.fillStyle = colours.ink;
    cx.font = `600 ${FONT}`;
    cx.fillText(clipped(cx, name, room), laneX(lane) - 6, 15);
    cx.fillStyle = colours.soft;
    cx.font = FONT;
    cx.fillText(clipped(cx, addresses, room), laneX(lane) - 6, 31);
  });
  cx.textAlign = "right";
  cx.fillStyle = colours.soft;
  cx.fillText("time", state.gutter - 8, 31);
}

// How many events each row of the map stands for, and whether one of them is bad.
let known = { version: -1 };
function density(rows) {
  if (known.version === axis.version && known.counts.length === rows) return known;
  const total = Math.max(1, axis.height);
  const counts = new Uint32Array(rows);
  const bad = new Uint8Array(rows);
  for (const i of axis.shown) {
    const row = Math.min(rows - 1, Math.floor((startOf(i) / total) * rows));
    counts[row]++;
    if (isBad(items.kind[i])) bad[row] = 1;
  }
  const most = counts.reduce((a, b) => Math.max(a, b), 1);
  known = { version: axis.version, counts, bad, most };
  return known;
}

// How dense the run is, what went wrong, and which part is in view.
function drawMap() {
  const cx = map.getContext("2d");
  const ratio = window.devicePixelRatio || 1;
  const height = map.height / ratio;
  cx.setTransform(ratio, 0, 0, ratio, 0, 0);
  cx.fillStyle = colours.raised;
  cx.fillRect(0, 0, 18, height);
  const rows = Math.max(1, Math.floor(height / 2));
  const { counts, bad, most } = density(rows);
  for (let row = 0; row < rows; row++) {
    if (counts[row] === 0) continue;
    cx.fillStyle = bad[row] ? colours.bad : colours.soft;
    cx.globalAlpha = bad[row] ? 1 : 0.25 + 0.5 * (counts[row] / most);
    const width = bad[row] ? 18 : 4 + 12 * (counts[row] / most);
    cx.fillRect(0, row * 2, width, 2);
  }
  cx.globalAlpha = 1;
  const scale = height / Math.max(space.offsetHeight, 1);
  cx.strokeStyle = colours.accent;
  cx.lineWidth = 2;
  cx.strokeRect(1, top() * scale + 1, 16, Math.max(6, state.height * scale - 2));
}
