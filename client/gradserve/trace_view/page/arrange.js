// Where everything stands: open groups are laid out inside, closed ones are one box. Nothing here touches the page.

const BOX = { height: 42, least: 88, most: 280, room: 26, row: 20, gap: 12 };
const CLOSED = { width: 232, height: 58 };
const ROW = { width: 320, height: 28, gap: 12 };
const FRAME = { header: 34, side: 16, bottom: 14 };
const PORT = { width: 12, height: 0 };
const GAPS = { across: 26, along: 58, bend: 26 };
const LABEL = { beside: 9, room: 6 }; // Between a wire and its label, and between labels.
const LIGHT = 0.05;
const HEAVY = 8; // What runs through the network runs straight; parameters and targets stand beside it.

/**
 * Places the whole graph.
 *
 * @param {object} model
 * @param {Set<string>} open Paths of the groups that are open.
 * @param {(text: string, kind: "name" | "operation" | "own" | "label") => number} widthOf Widths of text.
 * @returns {{width: number, height: number, boxes: object[], frames: object[], wires: object[]}} Boxes are values and
 *   closed groups, with `owner` the parameters inside of a box; frames are open groups; wires tell value and points.
 */
function arrange(model, open, widthOf) {
  const whole = measureInside(model.network, model, open, widthOf);
  const scene = { width: whole.width, height: whole.height, boxes: [], frames: [], wires: [] };
  place(whole, 0, 0, scene);
  return scene;
}

/** The size of one item, and where wires go in and out of it. */
function measure(item, model, open, widthOf) {
  if (item.group && open.has(item.group.path)) return measureFrame(item.group, model, open, widthOf);
  if (item.group) {
    const isRow = item.group.kind === "layer" && item.group.parent.kind === "layers";
    return plain({ group: item.group, row: isRow, ...(isRow ? ROW : CLOSED) });
  }
  const value = model.values[item.value];
  const text = Math.max(widthOf(value.label, "name"), widthOf(secondLine(value), "operation"));
  const width = Math.min(BOX.most, Math.max(BOX.least, BOX.room + text));
  const own = (model.attached.get(item.value) ?? []).map((index) => model.values[index]);
  return plain({
    value,
    own,
    width: Math.min(BOX.most, Math.max(width, ...own.map((one) => ownWidth(one, value, widthOf)))),
    height: BOX.height + own.length * BOX.row,
    labels: labelWidth(value, widthOf),
  });
}

/** The width of a parameter's row in the box of the operation that it belongs to. */
function ownWidth(parameter, value, widthOf) {
  const texts = [ownName(parameter, value), summaryText(parameter.value, 3), summaryText(parameter.gradient, 3)];
  return texts.reduce((sum, text) => sum + widthOf(text, "own") + BOX.gap, BOX.gap);
}

function ownName(parameter, value) {
  return parameter.name.slice(value.name.length + 1);
}

/** The room that the labels below a value take, to both sides alike. */
function labelWidth(value, widthOf) {
  const texts = [summaryText(value.value), summaryText(value.gradient)];
  return 2 * (Math.max(...texts.map((text) => widthOf(text, "label"))) + LABEL.beside + LABEL.room);
}

function plain(box) {
  return { ...box, into: () => null, outOf: () => box.width / 2 };
}

function measureFrame(group, model, open, widthOf) {
  const inside = measureInside(group, model, open, widthOf);
  const width = Math.max(inside.width + 2 * FRAME.side, CLOSED.width);
  const shift = (width - inside.width) / 2;
  return {
    group,
    inside,
    shift,
    width,
    height: FRAME.header + inside.height + FRAME.bottom,
    into: (value) => shift + (inside.ports.in.get(value) ?? inside.width / 2),
    outOf: (value) => shift + (inside.ports.out.get(value) ?? inside.width / 2),
  };
}

function measureInside(group, model, open, widthOf) {
  const items = group.items.map((item) => measure(item, model, open, widthOf));
  return group.kind === "layers" ? stack(group, items, model) : spread(group, items, model);
}

/** The items of a group in ranks, with a port above for each value that enters and one below for each that leaves. */
function spread(group, items, model) {
  const labelled = new Set([...group.links, ...group.leaving].map((link) => link.from));
  const nodes = items.map((item, at) => ({
    width: Math.max(item.width, labelled.has(at) ? (item.labels ?? 0) : 0),
    height: item.height,
  }));
  const edges = [];
  const wires = [];
  const weight = (value) => (["parameter", "target"].includes(model.values[value].operation) ? LIGHT : HEAVY);
  const join = (from, to, value) => {
    edges.push({ from, to, weight: weight(value) });
    wires.push({ from, to, value });
  };
  const ports = (pin) => {
    const known = new Map();
    return (value) => {
      if (!known.has(value)) {
        known.set(value, nodes.length);
        nodes.push({ ...PORT, [pin]: true });
        items.push({ ...plain(PORT), port: value, pin });
      }
      return known.get(value);
    };
  };
  const top = ports("top");
  const bottom = ports("bottom");
  for (const link of group.entering) join(top(link.value), link.to, link.value);
  for (const link of group.links) join(link.from, link.to, link.value);
  for (const link of group.leaving) join(link.from, bottom(link.value), link.value);
  const layout = layeredLayout(nodes, edges, GAPS);
  const inside = {
    width: layout.width,
    height: layout.height,
    items: items.map((item, at) => ({
      ...item,
      x: layout.nodes[at].x + (nodes[at].width - item.width) / 2,
      y: layout.nodes[at].y,
    })),
    ports: { in: new Map(), out: new Map() },
  };
  inside.items.forEach((item, at) => {
    if (item.port === undefined) return;
    inside.ports[item.pin === "top" ? "in" : "out"].set(item.port, item.x + item.width / 2);
  });
  inside.wires = routed(inside.items, wires, layout.routes);
  return inside;
}

/** The points of each wire. Wires that end on one box stand apart there, in the order in which they come. */
function routed(items, wires, routes) {
  const arriving = new Map();
  const drawn = wires.map((wire, at) => {
    const [from, to] = [items[wire.from], items[wire.to]];
    // Wires through a port come from the edge of the frame, or go to it.
    const y = from.pin === "top" ? -FRAME.header : from.y + from.height;
    const start = { x: from.x + from.outOf(wire.value), y };
    const { points, branch } = routes[at];
    const way = branch ? points : [start, ...points];
    const last = way.at(-1);
    const given = to.into(wire.value);
    if (to.pin) {
      const end = { x: to.x + to.width / 2, y: to.y + to.height + FRAME.bottom };
      return { value: wire.value, from: wire.from, branch, points: [...way, end] };
    }
    if (given === null) arriving.set(wire.to, [...(arriving.get(wire.to) ?? []), { at, x: last.x }]);
    return { value: wire.value, from: wire.from, branch, points: [...way, { x: to.x + (given ?? 0), y: to.y }] };
  });
  for (const [id, ends] of arriving) {
    const to = items[id];
    const margin = Math.min(14, to.width / 2);
    ends.sort((a, b) => a.x - b.x);
    const room = to.width - 2 * margin;
    const apart = ends.length > 1 ? Math.min(18, room / (ends.length - 1)) : 0;
    const spots = separate(
      ends.map((end) => Math.min(Math.max(end.x - to.x, margin), to.width - margin)),
      ends.map(() => 1),
      ends.slice(1).map(() => apart),
    );
    const over = Math.max(0, spots.at(-1) - (to.width - margin));
    const under = Math.max(0, margin - spots[0]);
    ends.forEach((end, nth) => (drawn[end.at].points.at(-1).x = to.x + spots[nth] - over + under));
  }
  return drawn;
}

/** Whether a value is the parameters of all layers in one: those of each layer are shown in its place. */
function isStacked(value, model) {
  return value.operation === "parameter" && value.users.some((user) => model.values[user].operation === "parameter");
}

/** The layers of a repeated block, one below the other; a wire runs from each to the next that uses it. */
function stack(group, all, model) {
  // Their places in the group are kept, as links tell them.
  const items = all.map((item) =>
    item.value && isStacked(item.value, model) ? { ...item, hidden: true, width: 0 } : item,
  );
  const width = Math.max(...items.map((item) => item.width));
  let next = 6;
  const placed = items.map((item) => {
    const here = { ...item, x: (width - item.width) / 2, y: next };
    if (!item.hidden) next += item.height + ROW.gap;
    return here;
  });
  const height = next - ROW.gap + 6;
  const wires = [];
  const enter = group.entering.find((link) => items[link.to].group);
  if (enter) {
    const to = placed[enter.to];
    const end = { x: to.x + (to.into(enter.value) ?? to.width / 2), y: to.y };
    wires.push({ value: enter.value, from: -1, points: [{ x: width / 2, y: -FRAME.header }, end] });
  }
  for (const link of group.links) {
    if (link.to !== link.from + 1 || !items[link.from].group) continue;
    const [from, to] = [placed[link.from], placed[link.to]];
    const start = { x: from.x + from.outOf(link.value), y: from.y + from.height };
    const end = { x: to.x + (to.into(link.value) ?? to.width / 2), y: to.y };
    wires.push({ value: link.value, from: link.from, points: [start, end] });
  }
  const leave = group.leaving.findLast((link) => items[link.from].group);
  if (leave) {
    const from = placed[leave.from];
    const start = { x: from.x + from.outOf(leave.value), y: from.y + from.height };
    wires.push({ value: leave.value, from: leave.from, points: [start, { x: width / 2, y: height + FRAME.bottom }] });
  }
  const ports = { in: new Map(), out: new Map() };
  return { width, height, items: placed, ports, wires, stacked: true };
}

/** Turns what was measured into boxes, frames and wires of the whole scene. */
function place(inside, x, y, scene) {
  inside.items.forEach((item) => {
    const at = { ...item, x: x + item.x, y: y + item.y };
    if (item.inside) {
      scene.frames.push({ group: item.group, x: at.x, y: at.y, width: item.width, height: item.height });
      place(item.inside, at.x + item.shift, at.y + FRAME.header, scene);
    } else if (item.port === undefined && !item.hidden) {
      const { value, group, row, own, width, height } = item;
      scene.boxes.push({ value, group, row, own: own?.length > 0, x: at.x, y: at.y, width, height });
      (own ?? []).forEach((one, nth) => {
        const top = at.y + BOX.height + nth * BOX.row;
        scene.boxes.push({ value: one, owner: value, x: at.x, y: top, width, height: BOX.row });
      });
    }
  });
  const labelled = new Set();
  for (const wire of inside.wires) {
    const key = `${wire.from} ${wire.value}`;
    const fromPort = wire.from < 0 || inside.items[wire.from].port !== undefined;
    scene.wires.push({
      value: wire.value,
      points: wire.points.map((point) => ({ x: x + point.x, y: y + point.y })),
      label: !inside.stacked && !fromPort && !wire.branch && !labelled.has(key),
      branch: Boolean(wire.branch),
    });
    if (!wire.branch) labelled.add(key);
  }
}
