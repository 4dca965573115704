// The trace as the page holds it: values with their users, groups with their parents and links.

/**
 * Reads what Python embedded (trace_view/data.py tells each field).
 *
 * @param {object} given
 */
function readModel(given) {
  const values = given.values.map((one, index) => ({
    ...one,
    index,
    value: readStatistics(one.value),
    gradient: readStatistics(one.gradient),
    users: [],
  }));
  for (const value of values) for (const input of value.inputs) values[input].users.push(value.index);
  const points = given.points.map((point) => ({ ...point, size: readNumber(point.size) }));
  const model = { ...given, values, points, groups: new Map(), group: new Map(), attached: attach(values) };
  model.network = readGroup(given.network, null, model);
  for (const group of model.groups.values()) linkGroup(group, model);
  return model;
}

/** For each value the parameters that are its own ("dense_1/kernel" of "dense_1") and nobody else's. */
function attach(values) {
  const attached = new Map();
  for (const one of values) {
    if (one.operation !== "parameter" || one.users.length !== 1) continue;
    const owner = values[one.users[0]];
    if (owner.operation === "parameter" || !one.name.startsWith(`${owner.name}/`)) continue;
    attached.set(owner.index, [...(attached.get(owner.index) ?? []), one.index]);
    one.owner = owner.index;
  }
  return attached;
}

function readStatistics(given) {
  if (!given) return null;
  const read = { ...given };
  for (const [key, number] of Object.entries(given)) if (typeof number === "string") read[key] = readNumber(number);
  read.data_type = given.data_type;
  return read;
}

/** A group with all that lies in it; `model.group` tells for each value which group holds it. */
function readGroup(given, parent, model) {
  const group = { ...given, parent, depth: parent ? parent.depth + 1 : 0, items: [], inside: [] };
  model.groups.set(group.path, group);
  for (const member of given.members) {
    if (typeof member === "number") {
      model.group.set(member, group);
      if (model.values[member].owner === undefined) group.items.push({ value: member });
      group.inside.push(member);
    } else {
      const inner = readGroup(member, group, model);
      group.items.push({ group: inner });
      for (const index of inner.inside) group.inside.push(index);
    }
  }
  return group;
}

/**
 * Notes what runs between the items of a group: `links` from item to item, `entering` from values outside to items,
 * `leaving` from items to users outside. Each tells the value that runs there.
 */
function linkGroup(group, model) {
  const itemOf = new Map();
  group.items.forEach((item, at) => {
    const own = item.group ? item.group.inside : [item.value, ...(model.attached.get(item.value) ?? [])];
    for (const index of own) itemOf.set(index, at);
  });
  const seen = new Set();
  const once = (kind, a, b, value) => {
    const key = `${kind} ${a} ${b} ${value}`;
    return seen.has(key) ? false : seen.add(key);
  };
  group.links = [];
  group.entering = [];
  group.leaving = [];
  for (const index of group.inside) {
    const to = itemOf.get(index);
    // The parameters of all layers in one are told of in words: a wire from them to each layer would say no more.
    if (model.values[index].operation === "parameter") continue;
    for (const input of model.values[index].inputs) {
      const from = itemOf.get(input);
      if (from === undefined) {
        if (once("in", to, "", input)) group.entering.push({ to, value: input });
      } else if (from !== to && once("link", from, to, input)) group.links.push({ from, to, value: input });
    }
  }
  if (!group.parent) return;
  for (const index of group.inside) {
    const leaves = (user) => !itemOf.has(user) && model.values[user].operation !== "parameter";
    if (model.values[index].users.some(leaves)) group.leaving.push({ from: itemOf.get(index), value: index });
  }
}

/** What runs out of a group and carries a gradient: where there is one, it stands for the group. */
function resultOf(group, model) {
  const last = group.leaving.length > 0 ? group.leaving[group.leaving.length - 1].value : group.inside.at(-1);
  return model.values[last];
}

/** The largest gradient among the values of a group that are no parameters, as root mean square. */
function gradientOf(group, model) {
  const sizes = group.inside
    .map((index) => model.values[index])
    .filter((value) => value.gradient && value.operation !== "parameter")
    .map((value) => (value.gradient.non_finite > 0 ? NaN : value.gradient.root_mean_square));
  if (sizes.some(Number.isNaN)) return NaN;
  return sizes.length > 0 ? Math.max(...sizes) : null;
}

/** Groups from the network down to the one that holds a value. */
function groupsAround(index, model) {
  const around = [];
  for (let group = model.group.get(index); group; group = group.parent) around.unshift(group);
  return around;
}
