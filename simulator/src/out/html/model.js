// The data, and where everything stands on the time axis.

const data = JSON.parse(document.getElementById("data").textContent);
const strings = data.strings;
const count = data.count;

const KIND = {
  segment: 0, datagram: 1, lost: 2, fault: 3, action: 4, input: 5,
  network: 6, timerFired: 7, timerSet: 8, machine: 9, socket: 10, fill: 11,
};
const COLOURS = [
  "tcp", "udp", "bad", "bad", "action", "input",
  "network", "timer", "timer", "machine", "machine", "fill",
];
const isPacket = (kind) => kind <= KIND.lost;
const isBad = (kind) => kind === KIND.lost || kind === KIND.fault;

const items = data.columns;
items.at = new Float64Array(count);
items.end = new Float64Array(count);
items.last = new Float64Array(count);
{
  let at = 0;
  for (let i = 0; i < count; i++) {
    at += items.step[i];
    items.at[i] = at;
    items.end[i] = at + items.duration[i];
    items.last[i] = items.entry[i] + items.span[i];
  }
}
// One more than the number of the last entry.
const entries = items.last.reduce((most, last) => Math.max(most, last), 0) + 1;

// Longest gap that true time draws, in pixels; longer ones are folded.
const GAP_MAX = 60;
// Items of one block of the index.
const BLOCK = 64;

const axis = {
  isEven: true,
  step: 20,
  // Pixels per nanosecond.
  rate: 0,
  shown: new Int32Array(0),
  // Rows before each entry.
  rowsBefore: new Int32Array(entries + 1),
  times: new Float64Array(0),
  rows: new Float64Array(0),
  blockEnds: new Float64Array(0),
  height: 0,
};

const hosts = data.hosts.map(([name, addresses], lane) => ({ name, addresses, fills: [], place: lane }));
// Lanes stand in the order in which hosts take part, so that most arrows are short.
{
  const order = new Set();
  for (let i = 0; i < count && order.size < hosts.length; i++) {
    if (!isPacket(items.kind[i])) continue;
    for (const lane of [items.lane[i], items.toLane[i]]) if (lane >= 0) order.add(lane);
  }
  hosts.forEach((_, lane) => order.add(lane));
  [...order].forEach((lane, place) => { hosts[lane].place = place; });
}
let fillMax = 1;
for (let i = 0; i < count; i++) {
  if (items.kind[i] === KIND.fill && hosts[items.lane[i]]) {
    hosts[items.lane[i]].fills.push(i);
    fillMax = Math.max(fillMax, items.fill[i]);
  }
}

const isKindShown = data.kinds.map(([, isShown]) => isShown);

// What the filter searches in, made when it is first asked for.
let haystacks = null;
function haystack(i) {
  haystacks ??= new Array(count);
  haystacks[i] ??= [
    strings[items.label[i]], hosts[items.lane[i]]?.name, hosts[items.toLane[i]]?.name,
    data.kinds[items.kind[i]][0], `#${items.number[i]}`, strings[items.flow[i]],
    strings[items.facts[i]],
  ].join(" ").toLowerCase();
  return haystacks[i];
}

function matches(i, terms) {
  return terms.every(({ text, isWanted }) => {
    // A number must be the whole number.
    const isThere = /^#\d+$/.test(text)
      ? `#${items.number[i]}` === text
      : haystack(i).includes(text);
    return isThere === isWanted;
  });
}

// Chooses what is shown, and gives every entry its row.
function select(query) {
  const terms = query.toLowerCase().split(/\s+/).filter((t) => t && t !== "-")
    .map((t) => (t.startsWith("-") ? { text: t.slice(1), isWanted: false } : { text: t, isWanted: true }));
  const shown = [];
  const marks = new Uint8Array(entries + 1);
  const times = new Float64Array(entries + 1);
  for (let i = 0; i < count; i++) {
    const kind = items.kind[i];
    if (kind === KIND.fill || !isKindShown[kind] || !matches(i, terms)) continue;
    shown.push(i);
    marks[items.entry[i]] = 1;
    times[items.entry[i]] = items.at[i];
    marks[items.last[i]] = 1;
    times[items.last[i]] = items.end[i];
  }
  axis.shown = Int32Array.from(shown);
  let rows = 0;
  for (let entry = 0; entry < entries; entry++) {
    axis.rowsBefore[entry] = rows;
    rows += marks[entry];
  }
  axis.rowsBefore[entries] = rows;
  axis.times = new Float64Array(rows);
  for (let entry = 0, row = 0; entry < entries; entry++) {
    if (marks[entry]) axis.times[row++] = times[entry];
  }
  place();
}

// Puts rows at their heights.
function place() {
  const rows = axis.times.length;
  axis.rows = new Float64Array(rows);
  let y = 0;
  for (let row = 0; row < rows; row++) {
    if (row > 0) {
      const gap = axis.times[row] - axis.times[row - 1];
      y += axis.isEven ? axis.step : Math.min(gap * axis.rate, GAP_MAX);
    }
    axis.rows[row] = y;
  }
  axis.height = y;
  axis.blockEnds = new Float64Array(Math.ceil(axis.shown.length / BLOCK));
  for (let n = 0; n < axis.shown.length; n++) {
    const block = Math.floor(n / BLOCK);
    axis.blockEnds[block] = Math.max(axis.blockEnds[block], endOf(axis.shown[n]));
  }
}

const heightOf = (entry) => axis.rows[Math.min(axis.rowsBefore[entry], axis.rows.length - 1)] ?? 0;
const startOf = (i) => heightOf(items.entry[i]);
const endOf = (i) => heightOf(items.last[i]);

// First place in a sorted list whose value is not below `least`.
function firstFrom(length, valueAt, least) {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (valueAt(middle) < least) low = middle + 1; else high = middle;
  }
  return low;
}

// Calls `visit` with every shown item between two heights.
function eachBetween(top, bottom, visit) {
  const shown = axis.shown;
  const behind = firstFrom(shown.length, (n) => startOf(shown[n]), bottom);
  for (let block = 0; block * BLOCK < behind; block++) {
    if (axis.blockEnds[block] < top) continue;
    const to = Math.min(behind, (block + 1) * BLOCK);
    for (let n = block * BLOCK; n < to; n++) {
      if (endOf(shown[n]) >= top) visit(shown[n]);
    }
  }
}

// Median of the gaps that are none at all.
function usualGap() {
  const gaps = [];
  const skip = Math.max(1, Math.floor(axis.times.length / 5000));
  for (let row = 1; row < axis.times.length; row += skip) {
    const gap = axis.times[row] - axis.times[row - 1];
    if (gap > 0) gaps.push(gap);
  }
  gaps.sort((a, b) => a - b);
  return gaps[gaps.length >> 1] ?? 1e6;
}

function clock(nanos) {
  const digits = (value, most) => value.toFixed(most).replace(/\.?0+$/, "");
  if (nanos < 1e6) return `${digits(nanos / 1e3, 3)} µs`;
  if (nanos < 1e9) return `${digits(nanos / 1e6, 3)} ms`;
  const seconds = nanos / 1e9;
  if (seconds < 600) return `${digits(seconds, 4)} s`;
  const pad = (value) => String(Math.floor(value)).padStart(2, "0");
  return `${Math.floor(seconds / 3600)}:${pad((seconds / 60) % 60)}:${pad(seconds % 60)}`;
}
