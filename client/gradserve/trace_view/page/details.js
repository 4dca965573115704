// What the panel tells of the value or group under the mouse or the focus.

const STATISTICS = [
  ["mean", "mean"],
  ["standard_deviation", "standard deviation"],
  ["minimum", "smallest"],
  ["maximum", "largest"],
  ["norm", "Euclidean norm"],
  ["root_mean_square", "root mean square"],
];
const WIDEST_WITH_NUMBERS = 6;

/** The panel of one value. `go` leads to another. */
function valueDetails(value, model, go) {
  const role = roleOf(value);
  const parts = [
    element("p", { class: "eyebrow" }, role === "operation" ? value.operation.replace(":", " · ") : role),
    element("h2", { class: "details-name" }, value.name),
    element("p", { class: "details-form" }, formText(value)),
  ];
  if (value.chain_rule) parts.push(section("Chain rule", typeset(value.chain_rule, model.names)));
  const isScalar = value.value && value.value.shape.every((size) => size === 1);
  if (isScalar) parts.push(scalars(value));
  else {
    if (value.value) parts.push(section("Statistics", statisticsTable(value)));
    if (value.value_tensor) parts.push(section("Value", tensorGrid(value.value_tensor, "value")));
    if (value.gradient_tensor) parts.push(section("Gradient", tensorGrid(value.gradient_tensor, "gradient")));
  }
  if (value.inputs.length > 0) parts.push(section("Computed from", linksTo(value.inputs, model, go)));
  if (value.users.length > 0) parts.push(section("Used by", linksTo(value.users, model, go)));
  return parts;
}

function formText(value) {
  if (!value.value) return "";
  return [value.value.data_type, shapeText(value.value.shape)].filter(Boolean).join(" · ");
}

/** A value of one element and its gradient, in large figures. */
function scalars(value) {
  const figure = (title, kind, statistics) =>
    element(
      "div",
      {},
      element("dt", {}, title),
      element("dd", { class: `of-${kind}` }, statistics ? scalarText(statistics) : "none"),
    );
  return element(
    "dl",
    { class: "scalars" },
    figure("value", "value", value.value),
    figure("gradient", "gradient", value.gradient),
  );
}

function scalarText(statistics) {
  return statistics.non_finite > 0 ? "not finite" : short(statistics.mean, 7);
}

function section(title, ...content) {
  return element("section", {}, element("h3", {}, title), ...content);
}

function statisticsTable(value) {
  const cell = (statistics, key) => element("td", {}, statistics ? short(statistics[key], 5) : "–");
  const row = (title, ...cells) => element("tr", {}, element("th", { scope: "row" }, title), ...cells);
  const zeros = (statistics) => (statistics ? `${short(100 * statistics.zero_fraction, 3)} %` : "–");
  const odd = (statistics) => (statistics ? String(statistics.non_finite) : "–");
  const both = [value.value, value.gradient];
  const rows = STATISTICS.map(([key, title]) => row(title, ...both.map((one) => cell(one, key))));
  rows.push(row("exactly zero", ...both.map((one) => element("td", {}, zeros(one)))));
  if (both.some((one) => one && one.non_finite > 0)) {
    rows.push(row("not finite", ...both.map((one) => element("td", { class: "is-broken" }, odd(one)))));
  }
  return element(
    "table",
    { class: "statistics" },
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        element("td", {}),
        element("th", { scope: "col", class: "of-value" }, "value"),
        element("th", { scope: "col", class: "of-gradient" }, "gradient"),
      ),
    ),
    element("tbody", {}, ...rows),
  );
}

/** A whole tensor: its last axis across, all others down; colour tells size and sign. */
function tensorGrid(tensor, kind) {
  const elements = tensor.elements.map((one) => (typeof one === "boolean" ? Number(one) : readNumber(one)));
  const columns = tensor.shape.at(-1) ?? 1;
  const rows = columns > 0 ? elements.length / columns : 0;
  if (elements.length === 0) return element("p", { class: "details-form" }, "no elements");
  const largest = Math.max(...elements.map(Math.abs).filter(Number.isFinite), Number.MIN_VALUE);
  const withNumbers = columns <= WIDEST_WITH_NUMBERS;
  const body = element("tbody", {});
  for (let row = 0; row < rows; row += 1) {
    const cells = elements.slice(row * columns, (row + 1) * columns).map((number, column) => {
      const place = tensor.shape.length === 0 ? "" : `[${indexOf(row, column, tensor.shape)}] `;
      const cell = element("td", { title: `${place}${short(number, 7)}` }, withNumbers ? short(number, 4) : "");
      cell.className = Number.isFinite(number) ? (number < 0 ? "is-negative" : "is-positive") : "is-broken";
      cell.style.setProperty("--share", `${Math.round(100 * Math.min(1, Math.abs(number) / largest || 0))}%`);
      return cell;
    });
    body.append(element("tr", {}, ...cells));
  }
  const caption = tensor.shape.length === 0 ? "" : shapeText(tensor.shape);
  return element(
    "table",
    { class: `tensor tensor-${kind} ${withNumbers ? "with-numbers" : ""}`, "aria-label": `${kind} ${caption}` },
    body,
  );
}

/** The index of an element whose row runs over all axes but the last. */
function indexOf(row, column, shape) {
  const index = [column];
  for (let axis = shape.length - 2; axis >= 0; axis -= 1) {
    index.unshift(row % shape[axis]);
    row = Math.floor(row / shape[axis]);
  }
  return index.join(", ");
}

function linksTo(indices, model, go) {
  const shown = indices.slice(0, 12).map((index) => {
    const value = model.values[index];
    return element("button", { type: "button", class: "link", click: () => go(index) }, clipName(value.name));
  });
  if (indices.length > shown.length)
    shown.push(element("span", { class: "more" }, `and ${indices.length - shown.length} more`));
  return element("div", { class: "links" }, ...shown);
}

/** The panel of a group: its layers or values by the size of their gradients. */
function groupDetails(group, model, strength, { isOpen, toggle, goGroup, go }) {
  const rows = group.items.flatMap((item) => {
    if (item.group) return groupRow(item.group, model, strength, goGroup);
    const own = model.attached.get(item.value) ?? [];
    return [item.value, ...own].map((index) => valueRow(model.values[index], strength, go));
  });
  const result = group.result === null ? null : model.values[group.result];
  const kinds = { layers: "repeated block", layer: "layer", block: "block" };
  return [
    element("p", { class: "eyebrow" }, kinds[group.kind]),
    element("h2", { class: "details-name" }, group.path),
    element("p", { class: "details-form" }, groupSays(group)),
    element("button", { type: "button", class: "open-group", click: toggle }, isOpen ? "Close" : "Open"),
    ...(result ? [section("Chain rule of its result", typeset(result.chain_rule, model.names))] : []),
    section("Gradients inside, root mean square", element("div", { class: "rows" }, ...rows)),
  ];
}

function groupRow(group, model, strength, goGroup) {
  return strengthRow(groupName(group), gradientOf(group, model), strength, () => goGroup(group));
}

function valueRow(value, strength, go) {
  const size = value.gradient ? (value.gradient.non_finite > 0 ? NaN : value.gradient.root_mean_square) : null;
  return strengthRow(value.label, size, strength, () => go(value.index));
}

function strengthRow(name, size, strength, click) {
  const fillPart = element("span", { class: "bar-fill" });
  fillPart.style.width = `${100 * (strength(size) ?? 0)}%`;
  return element(
    "button",
    { type: "button", class: "row", click },
    element("span", { class: "box-name" }, clipName(name)),
    element("span", { class: "bar" }, fillPart),
    element("span", { class: "box-number" }, size === null ? "none" : short(size, 3)),
  );
}
