// What part of the graph is in view, and how large.

const ZOOMS = { least: 0.2, most: 2, step: 1.25 };

function zoomTo(zoom) {
  state.isFitted = false;
  state.zoom = Math.min(ZOOMS.most, Math.max(ZOOMS.least, zoom));
  const { style } = at("scene");
  style.width = `${state.width}px`;
  style.height = `${state.height}px`;
  style.transform = `scale(${state.zoom})`;
  at("canvas").style.width = `${state.width * state.zoom}px`;
  at("canvas").style.height = `${state.height * state.zoom}px`;
  at("zoom").textContent = `${Math.round(100 * state.zoom)} %`;
}

/** Shows all, if it stays readable; otherwise the whole width, from the top. */
function fit() {
  const graph = at("graph");
  const room = { width: graph.clientWidth - 48, height: graph.clientHeight - 48 };
  const across = room.width / state.width;
  const both = Math.min(across, room.height / state.height);
  zoomTo(Math.min(1.15, both > 0.6 ? both : Math.min(1, Math.max(0.5, across))));
  graph.scrollTo((at("canvas").offsetWidth - graph.clientWidth) / 2, 0);
  state.isFitted = true;
}

/** With the control key (or two fingers) the wheel zooms, about the place under the mouse. */
function onWheel(event) {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  const graph = at("graph");
  const before = state.zoom;
  const box = at("canvas").getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  zoomTo(state.zoom * Math.exp(-event.deltaY / 300));
  graph.scrollBy(x * (state.zoom / before - 1), y * (state.zoom / before - 1));
}

/** The empty ground can be dragged. */
function onDrag(event) {
  const graph = at("graph");
  if (event.button !== 0 || event.pointerType === "touch" || event.target.closest("button")) return;
  const from = { x: event.clientX + graph.scrollLeft, y: event.clientY + graph.scrollTop };
  const move = (moved) => graph.scrollTo(from.x - moved.clientX, from.y - moved.clientY);
  graph.setPointerCapture(event.pointerId);
  graph.classList.add("is-dragged");
  graph.addEventListener("pointermove", move);
  graph.addEventListener(
    "pointerup",
    () => {
      graph.removeEventListener("pointermove", move);
      graph.classList.remove("is-dragged");
    },
    { once: true },
  );
}
