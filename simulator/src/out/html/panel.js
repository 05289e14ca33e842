// What is known of the chosen event.

const panel = byId("panel");

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

function table(rows) {
  const made = element("table");
  for (const [name, value] of rows) {
    const head = element("th", name);
    head.scope = "row";
    made.append(element("tr", undefined, head, element("td", value)));
  }
  return made;
}

const pairs = (lines) => lines.filter(Boolean).map((line) => {
  const at = line.indexOf("\t");
  return at < 0 ? ["", line] : [line.slice(0, at), line.slice(at + 1)];
});

function hexDump(hex) {
  const lines = [];
  for (let at = 0; at < hex.length; at += 16) {
    const bytes = hex.slice(at, at + 16).match(/../g);
    const text = bytes.map((byte) => {
      const code = parseInt(byte, 16);
      return code >= 32 && code < 127 ? String.fromCharCode(code) : "·";
    });
    const offset = (at / 2).toString(16).padStart(4, "0");
    lines.push(`${offset}  ${bytes.join(" ").padEnd(23)}  ${text.join("")}`);
  }
  return lines.join("\n");
}

function numberName(kind) {
  if (isPacket(kind)) return "packet";
  if (kind === KIND.socket) return "socket";
  return kind === KIND.network ? "number" : "machine";
}

function showPanel(i) {
  const kind = items.kind[i];
  const where = hosts[items.lane[i]]?.name ?? hosts[items.toLane[i]]?.name ?? "the world";
  const label = strings[items.label[i]];
  const parts = [
    element("h2", label),
    Object.assign(element("p", `${data.kinds[kind][0]} on ${where}`), { className: "where" }),
  ];
  const facts = isPacket(kind) ? fate(i) : [["at", exact(items.at[i])]];
  facts.push(...pairs(strings[items.facts[i]].split("\n")));
  if (items.len[i] > 0) facts.push(["payload", `${items.len[i].toLocaleString("en")} bytes`]);
  if (kind !== KIND.fault) facts.push([numberName(kind), `#${items.number[i]}`]);
  if (!isPacket(kind)) facts.push(["entry", String(items.entry[i])]);
  parts.push(table(facts));
  for (const number of strings[items.messages[i]].split(" ").filter(Boolean)) {
    parts.push(...message(i, strings[Number(number)].split("\n")));
  }
  const preview = strings[items.preview[i]];
  if (preview) {
    const shown = preview.length / 2;
    const all = items.len[i] > shown ? `, first ${shown} bytes` : "";
    parts.push(element("h3", `Payload${all}`), element("pre", hexDump(preview)));
  }
  parts.push(ways(i));
  panel.replaceChildren(...parts);
  byId("live").textContent = `${label}, ${where}, ${clock(items.at[i])}`;
}

const exact = (at) => `${clock(at)} (${at.toLocaleString("en")} ns)`;

// What became of a packet.
function fate(i) {
  const by = (lane, entry) => `${hosts[lane]?.name ?? "the network"}, entry ${entry}`;
  const isHeard = items.kind[i] !== KIND.lost && (items.span[i] > 0 || items.lane[i] < 0);
  const facts = [["way", strings[items.flow[i]]]];
  if (items.lane[i] >= 0) {
    facts.push(["sent", `${exact(items.at[i])} by ${by(items.lane[i], items.entry[i])}`]);
  }
  if (isHeard) {
    const took = items.lane[i] >= 0 ? `, after ${clock(items.end[i] - items.at[i])}` : "";
    facts.push(["arrived", `${exact(items.end[i])} at ${by(items.toLane[i], items.last[i])}${took}`]);
  } else if (items.kind[i] !== KIND.lost) {
    facts.push(["arrived", "never"]);
  }
  if (items.draws[i] > 0) {
    facts.push(["decisions", `${items.draw[i]}..${items.draw[i] + items.draws[i]}`]);
  }
  if (items.ack[i] >= 0) {
    facts.push(["offset", String(items.offset[i])], ["acknowledges", String(items.ack[i])]);
  }
  return facts;
}

// A protocol message, and how much of it this packet carries.
function message(i, [name, range, ...fields]) {
  const [from, to] = range.split("\t").map(Number);
  const [first, last] = [items.offset[i], items.offset[i] + items.len[i]];
  const rows = pairs(fields);
  if (from < first || to > last) {
    const bytes = `${Math.max(from, first) - from} to ${Math.min(to, last) - from} of ${to - from}`;
    rows.push(["here", `bytes ${bytes}`]);
  }
  return [element("h3", name), table(rows)];
}

// Buttons to what belongs to the same packet flow, machine or socket.
function ways(i) {
  const bar = element("nav");
  bar.setAttribute("aria-label", "Related events");
  const add = (text, next) => {
    if (next < 0) return;
    const button = element("button", text);
    button.type = "button";
    button.addEventListener("click", () => choose(next, true));
    bar.append(button);
  };
  const what = strings[items.flow[i]] ? "flow" : numberName(items.kind[i]);
  add(`← previous of this ${what}`, kin(i, -1));
  add(`next of this ${what} →`, kin(i, 1));
  return bar;
}

const turned = (flow) => flow.split(" → ").reverse().join(" → ");

// The next shown item in a direction that belongs together with this one.
function kin(i, direction) {
  const flow = strings[items.flow[i]];
  const isKin = (other) => {
    if (flow) {
      const theirs = strings[items.flow[other]];
      return theirs === flow || theirs === turned(flow);
    }
    return items.lane[other] === items.lane[i] && items.number[other] === items.number[i]
      && numberName(items.kind[other]) === numberName(items.kind[i]);
  };
  return seek(i, direction, isKin);
}

// The next shown item in a direction that `holds`; -1 when there is none.
function seek(i, direction, holds) {
  const shown = axis.shown;
  let n = firstFrom(shown.length, (k) => shown[k], i);
  if (direction < 0 || shown[n] === i) n += direction;
  for (; n >= 0 && n < shown.length; n += direction) {
    if (holds(shown[n])) return shown[n];
  }
  return -1;
}
