// One level of a graph drawn in ranks from top to bottom: each node below all that it needs.
//
// The steps are those of Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system
// structures", 1981: ranks, order within ranks, positions. Positions are a least-squares fit under the condition that
// nothing overlaps, which is an isotonic regression (pool adjacent violators).

const SWEEPS = 8;
const MOST_BENDS = 20000; // Beyond this, long edges run straight.
const PULL = 0.05; // Towards the middle, so that a long way does not drift to one side.
const BEND_WEIGHT = 2; // Trunks are straight in themselves and give way to what runs from rank to rank.

/**
 * @typedef {object} Layout
 * @property {number} width
 * @property {number} height
 * @property {{x: number, y: number, rank: number}[]} nodes Top left corners.
 * @property {{points: {x: number, y: number}[], branch: boolean}[]} routes For each edge, the points between its ends.
 *   Edges from one node run along one trunk: the longest tells all of it, the others, whose `branch` is true, only
 *   where they leave it.
 */

/**
 * Places nodes and routes edges.
 *
 * @param {{width: number, height: number, top?: boolean, bottom?: boolean}[]} nodes `top` and `bottom` pin ports.
 * @param {{from: number, to: number, weight: number}[]} edges Heavier edges become straighter.
 * @param {{across: number, along: number, bend: number}} gaps Between neighbours, between ranks, width of a bend.
 * @returns {Layout}
 */
function layeredLayout(nodes, edges, gaps) {
  if (nodes.length === 0)
    return { width: 0, height: 0, nodes: [], routes: edges.map(() => ({ points: [], branch: false })) };
  const ranks = rankNodes(nodes, edges);
  const graph = withBends(nodes, edges, ranks, gaps);
  orderRanks(graph);
  const centers = positionRanks(graph, gaps);
  const tops = rankTops(graph, gaps);
  const middle = (id) => tops.top[graph.rank[id]] + tops.height[graph.rank[id]] / 2;
  return {
    width: Math.max(...centers.map((center, id) => center + graph.width[id] / 2)),
    height: tops.total,
    nodes: nodes.map((node, id) => {
      const rank = graph.rank[id];
      // What needs nothing stands near to what uses it.
      const below = tops.top[rank] + tops.height[rank] - node.height;
      const y = node.top ? 0 : node.bottom || graph.above[id].length === 0 ? below : middle(id) - node.height / 2;
      return { x: centers[id] - node.width / 2, y, rank };
    }),
    routes: graph.routes.map(({ bends, branch }) => ({
      points: bends.map((id) => ({ x: centers[id], y: middle(id) })),
      branch,
    })),
  };
}

/** The rank of each node: the longest way to it; nodes that need nothing stand just above their first user. */
function rankNodes(nodes, edges) {
  const outgoing = nodes.map(() => []);
  const waiting = new Array(nodes.length).fill(0);
  for (const edge of edges) {
    outgoing[edge.from].push(edge.to);
    waiting[edge.to] += 1;
  }
  const needsNothing = waiting.map((count) => count === 0);
  const rank = new Array(nodes.length).fill(0);
  const ready = [...nodes.keys()].filter((id) => needsNothing[id]);
  for (let next = 0; next < ready.length; next += 1) {
    for (const to of outgoing[ready[next]]) {
      rank[to] = Math.max(rank[to], rank[ready[next]] + 1);
      waiting[to] -= 1;
      if (waiting[to] === 0) ready.push(to);
    }
  }
  for (const id of nodes.keys()) {
    if (needsNothing[id] && !nodes[id].top && outgoing[id].length > 0) {
      rank[id] = Math.min(...outgoing[id].map((to) => rank[to])) - 1;
    }
  }
  const last = Math.max(...rank.filter((_, id) => !nodes[id].bottom), 0);
  for (const id of nodes.keys()) if (nodes[id].bottom) rank[id] = last + 1;
  return rank;
}

/** Adds a bend wherever an edge passes a rank. All edges from one node share their bends, as one trunk. */
function withBends(nodes, edges, ranks, gaps) {
  const graph = {
    rank: [...ranks],
    width: nodes.map((node) => node.width),
    height: nodes.map((node) => node.height),
    above: nodes.map(() => []),
    below: nodes.map(() => []),
    routes: [],
  };
  const join = (from, to, weight) => {
    graph.below[from].push({ id: to, weight });
    graph.above[to].push({ id: from, weight });
  };
  const trunks = nodes.map(() => []);
  let bends = 0;
  for (const edge of edges) {
    const span = ranks[edge.to] - ranks[edge.from];
    const trunk = trunks[edge.from];
    if (span < 1 || bends + span > MOST_BENDS) {
      graph.routes.push({ bends: [], branch: false });
      continue;
    }
    while (trunk.length < span - 1) {
      const id = graph.rank.length;
      graph.rank.push(ranks[edge.from] + trunk.length + 1);
      graph.width.push(gaps.bend);
      graph.height.push(0);
      graph.above.push([]);
      graph.below.push([]);
      join(
        trunk.length > 0 ? trunk[trunk.length - 1] : edge.from,
        id,
        trunk.length > 0 ? BEND_WEIGHT : edge.weight / 8,
      );
      trunk.push(id);
      bends += 1;
    }
    if (span > 1) join(trunk[span - 2], edge.to, edge.weight / 8);
    else join(edge.from, edge.to, edge.weight);
    graph.routes.push({ bends: span > 1 ? [trunk[span - 2]] : [], branch: span > 1 });
  }
  graph.trunks = trunks.filter((trunk) => trunk.length > 1);
  const told = new Set();
  edges.forEach((edge, at) => {
    const [route, trunk] = [graph.routes[at], trunks[edge.from]];
    if (!route.branch || told.has(edge.from) || route.bends[0] !== trunk.at(-1)) return;
    told.add(edge.from);
    graph.routes[at] = { bends: trunk, branch: false };
  });
  graph.ranks = Array.from({ length: Math.max(...graph.rank) + 1 }, () => []);
  graph.rank.forEach((rank, id) => graph.ranks[rank].push(id));
  return graph;
}

/** Orders each rank so that few edges cross: by the mean place of neighbours, down and up, the best sweep kept. */
function orderRanks(graph) {
  const place = new Array(graph.rank.length);
  const number = () => graph.ranks.forEach((ids) => ids.forEach((id, index) => (place[id] = index)));
  number();
  let best = { crossings: countCrossings(graph, place), ranks: graph.ranks.map((ids) => [...ids]) };
  for (let sweep = 0; sweep < SWEEPS && best.crossings > 0; sweep += 1) {
    const down = sweep % 2 === 0;
    const rows = down ? graph.ranks : [...graph.ranks].reverse();
    for (const ids of rows) sortByNeighbours(ids, down ? graph.above : graph.below, place);
    number();
    const crossings = countCrossings(graph, place);
    if (crossings < best.crossings) best = { crossings, ranks: graph.ranks.map((ids) => [...ids]) };
  }
  graph.ranks = best.ranks;
}

/** Sorts one rank; nodes without neighbours stay where they are. */
function sortByNeighbours(ids, neighbours, place) {
  const wish = new Map();
  for (const id of ids) {
    const near = neighbours[id];
    if (near.length > 0) wish.set(id, near.reduce((sum, one) => sum + place[one.id], 0) / near.length);
  }
  const sorted = ids.filter((id) => wish.has(id)).sort((a, b) => wish.get(a) - wish.get(b) || place[a] - place[b]);
  let next = 0;
  ids.forEach((id, index) => {
    if (wish.has(id)) ids[index] = sorted[next++];
  });
  ids.forEach((id, index) => (place[id] = index));
}

/** Counts crossings between neighbouring ranks with a tree of partial sums (Barth, Juenger, Mutzel 2002). */
function countCrossings(graph, place) {
  let crossings = 0;
  for (const ids of graph.ranks) {
    const ends = ids.flatMap((id) => graph.below[id].map((one) => place[one.id]).sort((a, b) => a - b));
    if (ends.length < 2) continue;
    const size = Math.max(...ends) + 1;
    const sums = new Array(size + 1).fill(0);
    ends.forEach((end, seen) => {
      let upTo = 0;
      for (let at = end + 1; at > 0; at -= at & -at) upTo += sums[at];
      crossings += seen - upTo;
      for (let at = end + 1; at <= size; at += at & -at) sums[at] += 1;
    });
  }
  return crossings;
}

/** The horizontal center of each node: near its neighbours, and clear of what stands beside it. */
function positionRanks(graph, gaps) {
  const centers = new Array(graph.rank.length).fill(0);
  const mass = graph.rank.map((_, id) =>
    [...graph.above[id], ...graph.below[id]].reduce((sum, one) => sum + one.weight, 0.01),
  );
  const settle = (ids, wish) => {
    const separations = ids.slice(1).map((id, index) => (graph.width[ids[index]] + graph.width[id]) / 2 + gaps.across);
    const wishes = ids.map(wish);
    const settled = separate(
      wishes,
      ids.map((id) => mass[id]),
      separations,
    );
    ids.forEach((id, index) => (centers[id] = settled[index]));
  };
  const mean = (near, otherwise) => {
    const weight = near.reduce((sum, one) => sum + one.weight, 0);
    const sum = near.reduce((sum, one) => sum + one.weight * centers[one.id], 0);
    return weight > 0 ? sum / (weight * (1 + PULL)) : otherwise;
  };
  // What is heavy settles first, from above; then all give way to each other.
  graph.ranks.forEach((ids) => settle(ids, (id) => mean(graph.above[id], 0)));
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const rows = sweep % 2 === 0 ? [...graph.ranks].reverse() : graph.ranks;
    rows.forEach((ids) => settle(ids, (id) => mean([...graph.above[id], ...graph.below[id]], centers[id])));
  }
  straighten(graph, centers, gaps);
  const left = Math.min(...centers.map((center, id) => center - graph.width[id] / 2));
  return centers.map((center) => center - left);
}

/** Makes each trunk one straight line, if there is one that keeps clear of all that it passes. */
function straighten(graph, centers, gaps) {
  const place = new Map(graph.ranks.flatMap((ids) => ids.map((id, index) => [id, index])));
  const apart = (a, b) => (graph.width[a] + graph.width[b]) / 2 + gaps.across;
  for (const trunk of graph.trunks) {
    let [least, most, sum] = [-Infinity, Infinity, 0];
    for (const id of trunk) {
      const ids = graph.ranks[graph.rank[id]];
      const [left, right] = [ids[place.get(id) - 1], ids[place.get(id) + 1]];
      if (left !== undefined) least = Math.max(least, centers[left] + apart(left, id));
      if (right !== undefined) most = Math.min(most, centers[right] - apart(id, right));
      sum += centers[id];
    }
    const straight = Math.min(Math.max(sum / trunk.length, least), most);
    if (least <= most) for (const id of trunk) centers[id] = straight;
  }
}

/**
 * Numbers as near to `wishes` as they can be, each at least `separations` beyond the one before.
 *
 * @param {number[]} wishes
 * @param {number[]} weights How much each wish counts.
 * @param {number[]} separations One fewer than wishes.
 * @returns {number[]}
 */
function separate(wishes, weights, separations) {
  const offsets = [0];
  for (const separation of separations) offsets.push(offsets[offsets.length - 1] + separation);
  const pools = [];
  wishes.forEach((wish, index) => {
    let pool = { mean: wish - offsets[index], weight: weights[index], count: 1 };
    while (pools.length > 0 && pools[pools.length - 1].mean > pool.mean) {
      const before = pools.pop();
      const weight = before.weight + pool.weight;
      pool = {
        mean: (before.mean * before.weight + pool.mean * pool.weight) / weight,
        weight,
        count: before.count + pool.count,
      };
    }
    pools.push(pool);
  });
  return pools.flatMap((pool) => new Array(pool.count).fill(pool.mean)).map((mean, index) => mean + offsets[index]);
}

/** Where each rank begins, how high it is, and the height of all. */
function rankTops(graph, gaps) {
  const height = graph.ranks.map((ids) => Math.max(...ids.map((id) => graph.height[id])));
  const top = [];
  let next = 0;
  for (const one of height) {
    top.push(next);
    next += one + gaps.along;
  }
  return { top, height, total: next - gaps.along };
}
