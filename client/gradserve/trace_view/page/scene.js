// Draws what `arrange` placed: frames, wires with values and gradients, boxes.

/**
 * How strong a gradient is within its trace, from 0 (the smallest, or zero) to 1 (the largest); null if there is none.
 */
function strengths(model) {
  const sizes = model.points.map((point) => point.size).filter((size) => size > 0 && Number.isFinite(size));
  const low = Math.log10(Math.min(...sizes, 1e300));
  const high = Math.log10(Math.max(...sizes, 1e-300));
  const range = Math.max(high - low, 2);
  return (size) => {
    if (size === null) return null;
    if (!Number.isFinite(size)) return 1;
    return size === 0 ? 0 : Math.min(1, Math.max(0.04, 1 - (high - Math.log10(size)) / range));
  };
}

/** All of the scene, drawn afresh. Gives the elements of boxes and wires by value and by path of group. */
function drawScene(scene, model, strength) {
  const wires = vector("svg", { class: "wires", width: scene.width, height: scene.height, "aria-hidden": "true" });
  const frames = [];
  const boxes = [];
  const drawn = { frames, boxes, wires: new Map(), svg: wires, nodes: [] };
  wires.append(arrowHeads());
  for (const frame of scene.frames) {
    frames.push(placed(element("div", { class: `frame frame-${frame.group.kind}` }), frame));
    const header = frameHeader(frame, model);
    boxes.push(header);
    drawn.nodes.push({ element: header, group: frame.group, ...frame, height: FRAME.header, isOpen: true });
  }
  for (const wire of scene.wires) drawWire(wire, model, strength, drawn);
  for (const wire of scene.wires) if (wire.label) labelWire(wire, model, drawn);
  for (const box of scene.boxes) {
    const made = box.group ? groupBox(box, model, strength) : box.owner ? ownRow(box, model) : valueBox(box, model);
    boxes.push(made);
    drawn.nodes.push({ element: made, ...box });
  }
  return drawn;
}

function placed(made, box) {
  made.style.left = `${box.x}px`;
  made.style.top = `${box.y}px`;
  made.style.width = `${box.width}px`;
  made.style.height = `${box.height}px`;
  return made;
}

/** What a value is to the reader: input, parameter, target, loss, or an operation. */
function roleOf(value) {
  return ["input", "parameter", "target", "loss"].includes(value.operation) ? value.operation : "operation";
}

/** "relu" of "elementwise:relu". */
function operationText(value) {
  return value.operation.split(":").at(-1);
}

/** What stands below the name in a box: the operation, and the shape where there is one. */
function secondLine(value) {
  const role = roleOf(value);
  if (role === "loss") return short(value.value.mean, 6);
  const first = role === "operation" ? operationText(value) : role;
  return value.value && value.value.shape.length > 0 ? `${first} · ${shapeText(value.value.shape)}` : first;
}

function valueText(value) {
  const parts = [value.name, roleOf(value) === "operation" ? `operation ${value.operation}` : value.operation];
  parts.push(
    `value ${summaryText(value.value)}`,
    value.gradient ? `gradient ${summaryText(value.gradient)}` : "no gradient",
  );
  return parts.join(", ");
}

function valueBox(box, model) {
  const { value } = box;
  const role = roleOf(value);
  const made = element(
    "button",
    {
      type: "button",
      class: `box box-${role}`,
      tabindex: "-1",
      "data-name": value.name,
      "aria-label": valueText(value),
    },
    element("span", { class: "box-name" }, value.label),
    element("span", { class: "box-note" }, secondLine(value)),
  );
  if (box.own) made.classList.add("has-rows");
  markValue(made, value, model);
  return placed(made, box);
}

function markValue(made, value, model) {
  if (value.chain_rule) made.setAttribute("aria-description", value.chain_rule);
  if (value.gradient && value.gradient.non_finite > 0) made.classList.add("is-broken");
  if (model.places.has(value.name)) made.classList.add("is-place");
}

/** A parameter as a row in the box of its operation: its name, its value, its gradient. */
function ownRow(box, model) {
  const { value } = box;
  const made = element(
    "button",
    { type: "button", class: "box-own", tabindex: "-1", "data-name": value.name, "aria-label": valueText(value) },
    element("span", { class: "own-name" }, ownName(value, box.owner)),
    element("span", { class: "of-value" }, summaryText(value.value, 3)),
    element("span", { class: "of-gradient" }, summaryText(value.gradient, 3)),
  );
  markValue(made, value, model);
  return placed(made, box);
}

function groupName(group) {
  const last = group.path.split("/").at(-1);
  return group.kind === "layer" ? `layer ${last}` : last;
}

function groupSays(group) {
  const layers = group.items.filter((item) => item.group).length;
  const values = countText(group.inside.length, "value");
  return group.kind === "layers" ? `${countText(layers, "layer")} · ${values}` : values;
}

function groupBox(box, model, strength) {
  const { group } = box;
  const size = gradientOf(group, model);
  const said = size === null ? "no gradient" : `gradient ${short(size, 3)}`;
  const bar = element("span", { class: "bar" }, element("span", { class: "bar-fill" }));
  bar.firstChild.style.width = `${100 * (strength(size) ?? 0)}%`;
  const made = element(
    "button",
    {
      type: "button",
      class: box.row ? "box box-row" : `box box-group box-${group.kind}`,
      tabindex: "-1",
      "data-path": group.path,
      "aria-expanded": "false",
      "aria-label": `${group.path}, ${groupSays(group)}, ${said}`,
    },
    element("span", { class: "box-name" }, groupName(group)),
    box.row ? bar : element("span", { class: "box-note" }, groupSays(group)),
    box.row
      ? element("span", { class: "box-number" }, size === null ? "none" : short(size, 3))
      : sparkline(group, model, strength),
  );
  if (size !== null && !Number.isFinite(size)) made.classList.add("is-broken");
  if (group.inside.some((index) => model.places.has(model.values[index].name)) || model.places.has(group.path)) {
    made.classList.add("is-place");
  }
  return placed(made, box);
}

/** The gradient of each layer, or each value, of a closed group, as bars. */
function sparkline(group, model, strength) {
  const layers = group.items.filter((item) => item.group);
  const sizes =
    layers.length > 1
      ? layers.map((item) => gradientOf(item.group, model))
      : group.inside
          .map((index) => model.values[index])
          .filter((value) => value.gradient && value.operation !== "parameter")
          .map((value) => value.gradient.root_mean_square);
  const count = Math.max(sizes.length, 1);
  const svg = vector("svg", {
    class: "sparkline",
    viewBox: `0 0 ${count} 1`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  });
  sizes.forEach((size, at) => {
    const height = Math.max(0.04, strength(size) ?? 0);
    svg.append(vector("rect", { x: at + 0.06, y: 1 - height, width: 0.88, height }));
  });
  return svg;
}

function frameHeader(frame, model) {
  const made = element(
    "button",
    {
      type: "button",
      class: "frame-header",
      tabindex: "-1",
      "data-path": frame.group.path,
      "aria-expanded": "true",
      "aria-label": `${frame.group.path}, ${groupSays(frame.group)}, open`,
    },
    element("span", { class: "box-name" }, groupName(frame.group)),
    element("span", { class: "box-note" }, groupSays(frame.group)),
  );
  if (model.places.has(frame.group.path)) made.classList.add("is-place");
  return placed(made, { ...frame, height: FRAME.header });
}

function arrowHeads() {
  const head = (kind) =>
    vector(
      "marker",
      {
        id: `head-${kind}`,
        class: `head-${kind}`,
        viewBox: "0 0 8 8",
        refX: 6.5,
        refY: 4,
        markerWidth: 7,
        markerHeight: 7,
        markerUnits: "userSpaceOnUse",
        orient: "auto-start-reverse",
      },
      vector("path", { d: "M0 0.8L8 4L0 7.2z" }),
    );
  return vector("defs", {}, head("forward"), head("backward"));
}

const LABEL_ROOM = 21;

/** A smooth way through points, always leaving and arriving from above. */
function wirePath(points, shift) {
  const [first, second] = points;
  let path = `M${first.x + shift} ${first.y}`;
  if (second.y - first.y > 2 * LABEL_ROOM && Math.abs(second.x - first.x) > 8) {
    // Past the label before it bends.
    path += `V${first.y + LABEL_ROOM}`;
    points = [{ x: first.x, y: first.y + LABEL_ROOM }, ...points.slice(1)];
  }
  for (let at = 1; at < points.length; at += 1) {
    const [a, b] = [points[at - 1], points[at]];
    const half = (b.y - a.y) / 2;
    path += `C${a.x + shift} ${a.y + half} ${b.x + shift} ${b.y - half} ${b.x + shift} ${b.y}`;
  }
  return path;
}

function drawWire(wire, model, strength, drawn) {
  const value = model.values[wire.value];
  const known = drawn.wires.get(wire.value) ?? [];
  const put = (attributes) => {
    const made = vector("path", attributes);
    known.push(made);
    drawn.svg.append(made);
    return made;
  };
  const shift = value.gradient ? 3.5 : 0;
  put({ class: "wire forward", d: wirePath(wire.points, -shift), "marker-end": "url(#head-forward)" });
  if (value.gradient) {
    const size = value.gradient.non_finite > 0 ? NaN : value.gradient.root_mean_square;
    const made = put({
      class: "wire backward",
      d: wirePath(wire.points, shift),
      "marker-start": wire.branch ? null : "url(#head-backward)",
    });
    made.style.strokeWidth = `${0.9 + 2.4 * strength(size)}px`;
    if (size === 0) made.classList.add("is-zero");
    if (Number.isNaN(size)) made.classList.add("is-broken");
  }
  drawn.wires.set(wire.value, known);
}

/** The value left of where wires begin, its gradient right of it. */
function labelWire(wire, model, drawn) {
  const value = model.values[wire.value];
  const { x, y } = wire.points[0];
  const put = (kind, text, at, anchor) => {
    drawn.svg.append(
      vector(
        "text",
        { class: `label label-${kind}`, x: at, y: y + 17, "text-anchor": anchor, "data-of": value.name },
        text,
      ),
    );
  };
  put("value", summaryText(value.value), x - LABEL.beside, "end");
  if (value.gradient) put("gradient", summaryText(value.gradient), x + LABEL.beside, "start");
}
