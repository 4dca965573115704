// The size of gradients over depth, on a scale of decades.

const PLOT = { width: 360, height: 236, left: 44, right: 10, top: 12, bottom: 38, band: 16 };

/** Where things stand on the plot: functions from depth and size to points, and marks for the axes. */
function plotScales(points) {
  const finite = points.filter((point) => point.size > 0 && Number.isFinite(point.size));
  const logs = finite.map((point) => Math.log10(point.size));
  let low = Math.floor(Math.min(...logs, Infinity === Math.min(...logs) ? 0 : Infinity));
  let high = Math.ceil(Math.max(...logs, finite.length ? -Infinity : 0));
  if (high - low < 2) {
    low -= Math.floor((2 - (high - low)) / 2);
    high = low + 2;
  }
  const deepest = Math.max(1, ...points.map((point) => point.depth));
  const zeros = points.some((point) => point.size === 0);
  const odd = points.some((point) => !Number.isFinite(point.size));
  const top = PLOT.top + (odd ? PLOT.band : 0);
  const bottom = PLOT.height - PLOT.bottom - (zeros ? PLOT.band : 0);
  const x = (depth) => PLOT.left + 6 + (depth / deepest) * (PLOT.width - PLOT.left - PLOT.right - 12);
  const y = (size) => {
    if (!Number.isFinite(size)) return PLOT.top + 4;
    if (size === 0) return PLOT.height - PLOT.bottom - 6;
    return top + ((high - Math.log10(size)) / (high - low)) * (bottom - top);
  };
  const step = Math.max(1, Math.ceil((high - low) / 6));
  const decades = [];
  for (let decade = Math.ceil(low / step) * step; decade <= high; decade += step) decades.push(decade);
  return { x, y, decades, deepest, zeros, odd, low, high };
}

/**
 * Draws the plot.
 *
 * @param {object} model
 * @param {{show: (index: number) => void, leave: () => void, pick: (index: number) => void}} on
 */
function drawPlot(model, on) {
  const points = model.points;
  const scales = plotScales(points);
  const svg = vector("svg", {
    class: "plot",
    viewBox: `0 0 ${PLOT.width} ${PLOT.height}`,
    role: "img",
    "aria-label": plotText(model),
  });
  drawAxes(svg, scales);
  svg.append(vector("path", { class: "plot-line", d: largestPerDepth(points, scales) }));
  const marks = new Map();
  for (const point of points) {
    const at = { x: scales.x(point.depth), y: scales.y(point.size) };
    const mark =
      point.of === "parameter"
        ? vector("path", { class: "plot-parameter", d: `M${at.x} ${at.y - 3.4}l3.4 3.4l-3.4 3.4l-3.4 -3.4z` })
        : vector("circle", { class: "plot-value", cx: at.x, cy: at.y, r: points.length > 200 ? 1.6 : 2.6 });
    marks.set(point.value, { mark, ...at });
    svg.append(mark);
  }
  const halo = vector("circle", { class: "plot-halo", r: 6.5, visibility: "hidden" });
  svg.append(halo);
  const nearest = (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * PLOT.width;
    const y = ((event.clientY - box.top) / box.height) * PLOT.height;
    let best = { distance: 24 ** 2, index: null };
    for (const [index, mark] of marks) {
      const distance = (mark.x - x) ** 2 + (mark.y - y) ** 2;
      if (distance < best.distance) best = { distance, index };
    }
    return best.index;
  };
  svg.addEventListener("pointermove", (event) => {
    const index = nearest(event);
    if (index === null) on.leave();
    else on.show(index);
  });
  svg.addEventListener("pointerleave", () => on.leave());
  svg.addEventListener("click", (event) => {
    const index = nearest(event);
    if (index !== null) on.pick(index);
  });
  const point = (index) => {
    const mark = marks.get(index);
    halo.setAttribute("visibility", mark ? "visible" : "hidden");
    if (mark)
      for (const [name, value] of [
        ["cx", mark.x],
        ["cy", mark.y],
      ])
        halo.setAttribute(name, value);
  };
  return { svg, point };
}

function drawAxes(svg, scales) {
  const [left, right] = [PLOT.left, PLOT.width - PLOT.right];
  const text = (content, x, y, anchor) =>
    svg.append(vector("text", { class: "plot-text", x, y, "text-anchor": anchor }, content));
  for (const decade of scales.decades) {
    const y = scales.y(10 ** decade);
    svg.append(vector("line", { class: "plot-grid", x1: left, x2: right, y1: y, y2: y }));
    const label = vector("text", { class: "plot-text", x: left - 5, y: y + 3.5, "text-anchor": "end" }, "10");
    label.append(vector("tspan", { dy: "-4", "font-size": "7.5" }, String(decade).replace("-", "−")));
    svg.append(label);
  }
  if (scales.zeros) text("0", left - 5, scales.y(0) + 3.5, "end");
  if (scales.odd) text("∞", left - 5, scales.y(NaN) + 4, "end");
  const base = PLOT.height - PLOT.bottom + 4;
  const step = niceStep(scales.deepest / 5);
  for (let depth = 0; depth <= scales.deepest; depth += step) text(String(depth), scales.x(depth), base + 11, "middle");
  text("depth: operations from the input  →  loss", (left + right) / 2, base + 26, "middle");
}

/** 1, 2 or 5 times a power of ten, at least `least` and at least 1. */
function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  return [1, 2, 5, 10].map((digit) => digit * power).find((step) => step >= least);
}

/** A line through the largest gradient at each depth, of values that flow. */
function largestPerDepth(points, scales) {
  const largest = new Map();
  for (const point of points) {
    if (point.of !== "value" || !Number.isFinite(point.size)) continue;
    largest.set(point.depth, Math.max(largest.get(point.depth) ?? 0, point.size));
  }
  const line = [...largest].sort((a, b) => a[0] - b[0]);
  return line.map(([depth, size], at) => `${at ? "L" : "M"}${scales.x(depth)} ${scales.y(size)}`).join("");
}

function plotText(model) {
  return `Root mean square of gradients over depth, from input to loss. ${model.flow.label}. ${model.flow.meaning}`;
}
