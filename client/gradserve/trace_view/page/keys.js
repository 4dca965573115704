// Arrow keys lead along the graph, Escape closes blocks.

/** Up to what a node needs, down to what uses it, left and right along its rank; Escape closes the group around it. */
function onKey(event) {
  const node = state.tab;
  if (!node) return;
  const next = {
    ArrowUp: () => neighbour(node, -1),
    ArrowDown: () => neighbour(node, 1),
    ArrowLeft: () => beside(node, -1),
    ArrowRight: () => beside(node, 1),
  }[event.key];
  if (next) {
    event.preventDefault();
    const target = next();
    target?.element.focus({ preventScroll: true });
    target?.element.scrollIntoView({ block: "nearest", inline: "nearest" });
  } else if (event.key === "Escape") {
    const around = node.group ? (node.isOpen ? node.group : node.group.parent) : model.group.get(node.value.index);
    if (around?.parent && state.open.has(around.path)) toggle(around);
  }
}

/** The nearest node above or below that a wire leads to; without one, the nearest at all. */
function neighbour(node, direction) {
  const linked = new Set();
  for (const index of node.group ? node.group.inside : [node.value.index]) {
    const value = model.values[index];
    for (const one of direction < 0 ? value.inputs : value.users) linked.add(nodeOf(ofValue(one)));
  }
  const heavy = (one) => (one.value && ["parameter", "target"].includes(one.value.operation) ? 1 : 0);
  const lies = (one) => one && one !== node && direction * (one.y - node.y) > 0;
  const distance = (one) => Math.abs(one.y - node.y) + Math.abs(one.x + one.width / 2 - node.x - node.width / 2) / 4;
  const candidates = [...linked].filter(lies);
  const among = candidates.length > 0 ? candidates : state.drawn.nodes.filter(lies);
  const nearest = among.sort((a, b) => heavy(a) - heavy(b) || distance(a) - distance(b))[0];
  if (!nearest) return undefined;
  return (direction < 0 ? headerPassedUp(node, nearest) : headerPassedDown(node, nearest)) ?? nearest;
}

/** Groups around a node, from the outermost; an open group is around what is in it, so that it counts as its own. */
function groupsOf(node) {
  if (node.group) return ancestors(node.isOpen ? node.group : node.group.parent);
  return groupsAround(node.value.index, model);
}

/** The header of the outermost open group that a step down leads into. */
function headerPassedDown(from, to) {
  const known = new Set(groupsOf(from));
  const entered = groupsOf(to).find((group) => !known.has(group));
  return entered && nodeOf(ofGroup(entered));
}

/** The header of the group that a step up leads out of. */
function headerPassedUp(from, to) {
  const inside = from.isOpen ? from.group.parent : groupsOf(from).at(-1);
  return inside?.parent && !groupsOf(to).includes(inside) ? nodeOf(ofGroup(inside)) : undefined;
}

function beside(node, direction) {
  const middle = (one) => one.y + one.height / 2;
  return state.drawn.nodes
    .filter((one) => one !== node && direction * (one.x - node.x) > 0 && Math.abs(middle(one) - middle(node)) < 40)
    .sort((a, b) => direction * (a.x - b.x))[0];
}
