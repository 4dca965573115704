// Brings the page to life: what is open, what is picked, theme, zoom, search, keys.

const FEW = 48; // Values that are shown all at once when the page opens.
const MANY_LAYERS = 300; // A repeated block of more stays closed at first.

const model = readModel(JSON.parse(document.getElementById("trace").textContent));
model.names = new Map(model.values.map((value) => [value.name, value.index]));
model.places = new Set(model.flow.places);
const strength = strengths(model);
const at = (id) => document.getElementById(id);
const state = { open: new Set(), picked: null, shown: null, zoom: 1, drawn: null, width: 0, height: 0, tab: null };

/** A value or a group as one thing: {value} or {group}. */
const ofValue = (index) => ({ value: model.values[index] });
const ofGroup = (group) => ({ group });
const isSame = (a, b) => Boolean(a && b) && a.value === b.value && a.group === b.group;

/** The group or value of a name; what a block gives is shown as the block. */
function named(name) {
  if (model.groups.has(name) && name) return ofGroup(model.groups.get(name));
  return model.names.has(name) ? ofValue(model.names.get(name)) : null;
}

function start() {
  openAtFirst();
  fillVerdict();
  fillSearch();
  state.plot = drawPlot(model, {
    show: (index) => show(ofValue(index)),
    leave: () => show(null),
    pick: (index) => go(ofValue(index)),
  });
  at("plot").append(state.plot.svg);
  draw();
  fit();
  const first = model.values.find((value) => value.operation === "parameter") ?? model.values[0];
  const group = state.drawn.nodes.find((node) => node.group);
  pick(isVisible(first.index) || !group ? ofValue(first.index) : group.thing);
  setTab(nodeOf(state.picked));
  listen();
  document.documentElement.dataset.ready = "";
}

/** Small graphs open whole; of large ones, repeated blocks show their layers, and all else is closed. */
function openAtFirst() {
  const groups = [...model.groups.values()].filter((group) => group.parent);
  if (model.values.length <= FEW) groups.forEach((group) => state.open.add(group.path));
  else {
    for (const group of groups) {
      const layers = group.items.filter((item) => item.group).length;
      const shows = group.parent === model.network || state.open.has(group.parent.path);
      if (shows && group.kind === "layers" && layers <= MANY_LAYERS) state.open.add(group.path);
    }
  }
}

function fillVerdict() {
  const { flow } = model;
  document.title = `${model.title}: ${flow.label.toLowerCase()}`;
  at("title").textContent = model.title;
  at("loss").textContent = short(readNumber(model.loss), 6);
  at("count").textContent = countText(model.values.length - 1, "value");
  at("verdict").textContent = flow.label;
  document.documentElement.dataset.verdict = flow.verdict;
  at("meaning").textContent = flow.meaning;
  const factor = readNumber(flow.factor_per_layer);
  at("factor").textContent = factor ? `× ${short(factor, 3)} from each layer to the one before it` : "";
  const list = (id, items, make) => {
    at(id).parentElement.hidden = items.length === 0;
    at(id).append(...items.map((item) => element("li", {}, make(item))));
  };
  list("places", flow.places, (place) => {
    const target = named(place);
    return target ? element("button", { type: "button", class: "link", click: () => go(target) }, place) : place;
  });
  list("advice", flow.advice, (advice) => advice);
}

const pen = document.createElement("canvas").getContext("2d");
const FONTS = { name: "650 13.5px ", operation: "11.5px ", own: "600 11.5px ", label: "650 11.5px " };
const family = getComputedStyle(document.documentElement).fontFamily;

/** The width of a text as the page will show it. */
function widthOf(text, kind) {
  pen.font = FONTS[kind] + family;
  return pen.measureText(text).width;
}

function draw() {
  const scene = arrange(model, state.open, widthOf);
  state.drawn = drawScene(scene, model, strength);
  [state.width, state.height] = [scene.width, scene.height];
  at("scene").replaceChildren(...state.drawn.frames, state.drawn.svg, ...state.drawn.boxes);
  for (const node of state.drawn.nodes) {
    const thing = node.group ? ofGroup(node.group) : ofValue(node.value.index);
    node.thing = thing;
    node.element.addEventListener("pointerenter", () => show(thing));
    node.element.addEventListener("pointerleave", () => show(null));
    node.element.addEventListener("focus", () => {
      setTab(node);
      pick(thing);
    });
    node.element.addEventListener("click", () => (node.group ? toggle(node.group) : pick(thing)));
  }
  setTab(nodeOf(state.picked) ?? state.drawn.nodes.find((node) => node.value) ?? state.drawn.nodes[0]);
  mark();
  zoomTo(state.zoom);
}

/** The drawn node that stands for a thing: itself, or the closed group that hides it, or the one that holds it. */
function nodeOf(thing) {
  if (!thing) return undefined;
  const own = state.drawn.nodes.find((node) => isSame(node.thing, thing));
  if (own) return own;
  const around = thing.value ? groupsAround(thing.value.index, model) : ancestors(thing.group);
  const closed = around.find((group) => group.parent && !state.open.has(group.path)) ?? around.at(-1);
  return state.drawn.nodes.find((node) => node.group === closed);
}

function ancestors(group) {
  const around = [];
  for (let one = group; one; one = one.parent) around.unshift(one);
  return around;
}

function isVisible(index) {
  return groupsAround(index, model).every((group) => !group.parent || state.open.has(group.path));
}

/** One node of the graph is in the order of the tab key; arrows lead to the others. */
function setTab(node) {
  state.tab?.element.setAttribute("tabindex", "-1");
  state.tab = node;
  node?.element.setAttribute("tabindex", "0");
}

function toggle(group) {
  const anchor = nodeOf(ofGroup(group))?.element.getBoundingClientRect();
  if (!state.open.delete(group.path)) state.open.add(group.path);
  state.picked = ofGroup(group);
  draw();
  const node = nodeOf(ofGroup(group));
  // What was clicked stays where it is.
  const now = node?.element.getBoundingClientRect();
  if (anchor && now) at("graph").scrollBy(now.left - anchor.left, now.top - anchor.top);
  node?.element.focus({ preventScroll: true });
  panel(state.picked);
}

function pick(thing) {
  state.picked = thing;
  panel(thing);
  mark();
}

/** Shows a thing for as long as the mouse is over it. */
function show(thing) {
  if (isSame(state.shown, thing) || (!state.shown && !thing)) return;
  state.shown = thing;
  panel(thing ?? state.picked);
  mark();
}

/** Opens all around a thing, brings it into view and picks it. */
function go(thing) {
  const around = thing.value ? groupsAround(thing.value.index, model) : ancestors(thing.group).slice(0, -1);
  const closed = around.filter((group) => group.parent && !state.open.has(group.path));
  closed.forEach((group) => state.open.add(group.path));
  state.shown = null;
  state.picked = thing;
  if (closed.length > 0) draw();
  const node = nodeOf(thing);
  if (node) {
    setTab(node);
    node.element.scrollIntoView({ block: "center", inline: "center" });
  }
  pick(thing);
}

function panel(thing) {
  if (!thing) return;
  const content = thing.value
    ? valueDetails(thing.value, model, (index) => go(ofValue(index)))
    : groupDetails(thing.group, model, strength, {
        isOpen: state.open.has(thing.group.path),
        toggle: () => toggle(thing.group),
        goGroup: (group) => go(ofGroup(group)),
        go: (index) => go(ofValue(index)),
      });
  at("details").replaceChildren(...content);
  state.plot.point(thing.value ? thing.value.index : resultOf(thing.group, model)?.index);
}

/** Lights up what is shown, its wires, and the nodes at their ends. */
function mark() {
  const thing = state.shown ?? state.picked;
  for (const made of at("scene").querySelectorAll(".is-lit, .is-near, .is-picked"))
    made.classList.remove("is-lit", "is-near", "is-picked");
  if (!thing || !state.drawn) return;
  nodeOf(state.picked)?.element.classList.add("is-picked");
  nodeOf(thing)?.element.classList.add("is-lit");
  if (!thing.value) return;
  for (const path of state.drawn.wires.get(thing.value.index) ?? []) path.classList.add("is-lit");
  for (const index of [...thing.value.inputs, ...thing.value.users.slice(0, 50)])
    nodeOf(ofValue(index))?.element.classList.add("is-near");
}

function fillSearch() {
  at("names").append(...model.values.slice(0, 3000).map((value) => element("option", { value: value.name })));
}

function listen() {
  at("search").addEventListener("change", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    const found =
      model.values.find((value) => value.name.toLowerCase() === wanted) ??
      model.values.find((value) => value.name.toLowerCase().includes(wanted));
    event.target.setCustomValidity(found || !wanted ? "" : "No value has a name like this.");
    event.target.reportValidity();
    if (found && wanted) go(named(found.name));
  });
  for (const choice of document.querySelectorAll("input[name=theme]")) {
    choice.addEventListener("change", () => (document.documentElement.dataset.theme = choice.value));
  }
  at("zoom-in").addEventListener("click", () => zoomTo(state.zoom * ZOOMS.step));
  at("zoom-out").addEventListener("click", () => zoomTo(state.zoom / ZOOMS.step));
  at("zoom-fit").addEventListener("click", fit);
  at("open-all").addEventListener("click", () => setAll(true));
  at("close-all").addEventListener("click", () => setAll(false));
  window.addEventListener("resize", () => state.isFitted && fit());
  at("graph").addEventListener("wheel", onWheel, { passive: false });
  at("graph").addEventListener("pointerdown", onDrag);
  at("scene").addEventListener("keydown", onKey);
}

function setAll(isOpen) {
  state.open = new Set(isOpen ? [...model.groups.keys()].filter(Boolean) : []);
  draw();
  fit();
}

start();
