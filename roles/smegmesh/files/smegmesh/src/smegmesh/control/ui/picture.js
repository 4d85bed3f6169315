/** The topology as a picture: sigma draws a graph of graphology. */

import { place } from "./layout.js";
import { ShapeProgram } from "./shapes.js";

const TONES = ["ground", "text", "quiet", "alive", "mute", "down", "beyond", "link", "home", "way"];
const FILLING = { alive: "full", mute: "half", down: "crossed" };
// Sizes are in the layout's measure. The quiet ones are many in a large mesh, and can be left out.
const LOOKS = {
  ring: { tone: "link", type: "thin", size: 0.02, quiet: true },
  backup: { tone: "link", type: "line", size: 0.03, quiet: true },
  home: { tone: "home", type: "line", size: 0.06 },
  bridge: { tone: "beyond", type: "line", size: 0.1 },
  exit: { tone: "beyond", type: "line", size: 0.06 },
  beyond: { tone: "beyond", type: "line", size: 0.06 },
  way: { tone: "way", type: "line", size: 0.16, zIndex: 1 },
};
const CROWDED = 6000; // edges; of more only the nodes move
const CLOSEST = 8; // of the layout's measure, across

const still = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

export class Picture {
  /** In an element; `chosen` hears the id of a node that was clicked, null beside all. An Error without WebGL. */
  constructor(box, chosen) {
    this.box = box;
    this.model = null;
    this.mesh = "";
    this.links = true;
    this.marked = null;
    this.centre = null;
    this.way = [];
    this.structure = "";
    this.span = 1;
    this.tones = readTones();
    this.graph = new graphology.MultiUndirectedGraph();
    this.sigma = new Sigma(this.graph, box, this.settings(box));
    this.sigma.on("clickNode", ({ node }) => chosen(node));
    this.sigma.on("clickStage", () => chosen(null));
    this.sigma.on("enterNode", () => (box.style.cursor = "pointer"));
    this.sigma.on("leaveNode", () => (box.style.cursor = ""));
    dark.addEventListener("change", () => this.recolour());
    this.wide = isWide();
    new ResizeObserver(() => this.resized()).observe(box);
  }

  settings(box) {
    return {
      nodeProgramClasses: { shape: ShapeProgram },
      defaultNodeType: "shape",
      edgeProgramClasses: { thin: Sigma.rendering.EdgeLineProgram },
      itemSizesReference: "positions",
      zoomToSizeRatioFunction: (ratio) => ratio,
      minEdgeThickness: 1.5,
      stagePadding: paddingOf(box),
      labelFont: "system-ui, sans-serif",
      labelSize: 13,
      labelColor: { color: this.tones.text },
      labelRenderedSizeThreshold: 4,
      labelDensity: 2,
      enableCameraRotation: false,
      maxCameraRatio: 2,
      minCameraRatio: 0.003,
      zIndex: true,
      allowInvalidContainer: true,
      hideLabelsOnMove: true,
      defaultDrawNodeHover: (context, node, settings) => this.drawLabel(context, node, settings),
      nodeReducer: (id, node) => this.lookOfNode(id, node),
      edgeReducer: (_id, edge) => this.lookOfEdge(edge),
    };
  }

  /** Another model; where the camera is stays. */
  show(model) {
    this.model = model;
    const structure = [...model.nodes.keys(), ...model.edges.keys(), this.wide].join("\n");
    if (structure === this.structure) {
      for (const node of model.nodes.values()) this.setLiveness(node.id, node.liveness, node.leader);
      return;
    }
    this.structure = structure;
    this.rebuild();
  }

  rebuild() {
    const places = place(this.model, this.wide);
    const graph = new graphology.MultiUndirectedGraph();
    for (const node of this.model.nodes.values()) graph.addNode(node.id, { ...attributes(node), ...places.get(node.id) });
    for (const [key, edge] of this.model.edges) graph.addEdgeWithKey(key, edge.source, edge.target, { ...edge });
    this.graph = graph;
    this.addWay();
    this.sigma.setSetting("hideEdgesOnMove", graph.size > CROWDED);
    this.sigma.setGraph(graph);
    this.frameMesh();
  }

  setLiveness(id, liveness, leader = this.graph.getNodeAttribute(id, "leader")) {
    const now = this.graph.getNodeAttributes(id);
    if (now.liveness === liveness && now.leader === leader) return;
    this.graph.mergeNodeAttributes(id, attributes({ ...this.model.nodes.get(id), liveness, leader }));
  }

  /** Set off some nodes against the others, null for none. */
  mark(ids) {
    this.setOff(ids, null, []);
  }

  /** Set off a node, if there is one, with whom it is with, and a way. */
  markWay(id, way) {
    this.setOff([...(id ? [id, ...this.graph.neighbors(id)] : []), ...way], id, way);
  }

  setOff(ids, centre, way) {
    this.marked = ids && new Set(ids);
    this.centre = centre;
    this.way = way;
    for (const edge of this.graph.filterEdges((_edge, { kind }) => kind === "way")) this.graph.dropEdge(edge);
    this.addWay();
    this.sigma.refresh();
  }

  addWay() {
    this.way = this.way.filter((id) => this.graph.hasNode(id));
    this.way.slice(1).forEach((target, before) => {
      const source = this.way[before];
      this.graph.addEdge(source, target, { kind: "way", source, target });
    });
  }

  /** Only one mesh and what it reaches, or all of them. */
  showMesh(mesh) {
    this.mesh = mesh;
    this.frameMesh();
    this.fit();
  }

  showLinks(shown) {
    this.links = shown;
    this.sigma.refresh();
  }

  frameMesh() {
    const x = [Infinity, -Infinity];
    const y = [Infinity, -Infinity];
    this.graph.forEachNode((id, node) => {
      if (this.isHidden(id)) return;
      x[0] = Math.min(x[0], node.x - 1);
      x[1] = Math.max(x[1], node.x + 1);
      y[0] = Math.min(y[0], node.y - 1);
      y[1] = Math.max(y[1], node.y + 1);
    });
    this.span = Math.max(x[1] - x[0], y[1] - y[0], 1);
    this.sigma.setCustomBBox(x[0] < x[1] ? { x, y } : null);
    this.sigma.refresh();
  }

  fit() {
    this.move({ x: 0.5, y: 0.5, ratio: 1, angle: 0 });
  }

  zoom(factor) {
    const camera = this.sigma.getCamera();
    this.move({ ratio: camera.getBoundedRatio(camera.ratio * factor) });
  }

  /** Have these nodes in view, and not much else. */
  frame(ids) {
    const places = ids.map((id) => this.sigma.getNodeDisplayData(id)).filter(Boolean);
    if (!places.length) return;
    const [left, right] = [Math.min(...places.map(({ x }) => x)), Math.max(...places.map(({ x }) => x))];
    const [low, high] = [Math.min(...places.map(({ y }) => y)), Math.max(...places.map(({ y }) => y))];
    const ratio = Math.min(1, Math.max(CLOSEST / this.span, 1.8 * Math.max(right - left, high - low)));
    this.move({ x: (left + right) / 2, y: (low + high) / 2, ratio });
  }

  move(state) {
    const camera = this.sigma.getCamera();
    if (still.matches) camera.setState({ ...camera.getState(), ...state });
    else camera.animate(state, { duration: 300 }).then(() => this.sigma.scheduleRender()); // labels wait for it
  }

  resized() {
    this.sigma.setSetting("stagePadding", paddingOf(this.box));
    if (this.wide === isWide() || !this.model) return;
    this.wide = isWide();
    this.show(this.model);
    this.fit();
  }

  recolour() {
    this.tones = readTones();
    this.sigma.setSetting("labelColor", { color: this.tones.text });
    this.sigma.refresh();
  }

  isHidden(id) {
    if (!this.mesh) return false;
    const node = this.model.nodes.get(id);
    if (node.key) return node.mesh !== this.mesh;
    return !this.graph.someNeighbor(id, (other) => this.model.nodes.get(other).mesh === this.mesh);
  }

  isDim(id) {
    return this.marked !== null && !this.marked.has(id);
  }

  lookOfNode(id, node) {
    const dim = this.isDim(id);
    return {
      ...node,
      color: this.tones[dim ? "link" : node.tone],
      label: dim ? null : node.label,
      forceLabel: node.own || (this.marked !== null && !dim && this.marked.size < 20),
      hidden: this.isHidden(id),
      zIndex: dim ? 0 : 1,
    };
  }

  lookOfEdge(edge) {
    const { tone, type, size, zIndex = 0, quiet = false } = LOOKS[edge.kind];
    const covered = edge.kind !== "way" && this.way.includes(edge.source) && this.way.includes(edge.target);
    const near = this.centre !== null && (edge.source === this.centre || edge.target === this.centre);
    const dim = this.marked !== null && !near && edge.kind !== "way";
    const color = this.tones[dim ? "link" : near && quiet ? "home" : tone];
    return { ...edge, type, size, zIndex, color, hidden: covered || (quiet && !this.links && !near) };
  }

  drawLabel(context, node, settings) {
    context.font = `${settings.labelSize}px ${settings.labelFont}`;
    const width = context.measureText(node.label ?? "").width;
    context.fillStyle = this.tones.ground;
    context.strokeStyle = this.tones.way;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(node.x, node.y, node.size + 3, 0, 2 * Math.PI);
    context.stroke();
    if (!node.label) return;
    context.fillRect(node.x + node.size + 4, node.y - settings.labelSize, width + 6, 1.6 * settings.labelSize);
    context.fillStyle = this.tones.text;
    context.fillText(node.label, node.x + node.size + 7, node.y + settings.labelSize / 3);
  }

  /** What the renderer was last given, in pixels of the page: for tests. */
  drawn() {
    const { left, top } = this.box.getBoundingClientRect();
    const nodes = this.graph.mapNodes((id) => {
      const { label, shape, filling, color, hidden, size, ...at } = this.sigma.getNodeDisplayData(id);
      const { x, y } = this.sigma.framedGraphToViewport(at);
      const { name } = this.model.nodes.get(id);
      return { id, name, label, shape, filling, color, hidden, lit: !this.isDim(id), x: x + left, y: y + top };
    });
    const edges = this.graph.mapEdges((key, { kind }, source, target) => {
      const { hidden, color } = this.sigma.getEdgeDisplayData(key);
      return { kind, source, target, hidden, color };
    });
    return { nodes, edges, way: this.way };
  }
}

/** How a node is drawn beyond where it is. */
function attributes({ name, mesh, shape, liveness, leader, own }) {
  const label = [name, leader && "★", own && `– here, in ${mesh}`, liveness && liveness !== "alive" && `– ${liveness}`];
  return {
    label: label.filter(Boolean).join(" "), shape, liveness, leader, own,
    filling: FILLING[liveness] ?? "full", tone: liveness ?? "beyond",
  };
}

/** Names stand out to the right. */
function paddingOf(box) {
  return box.clientWidth > 600 ? 70 : 30;
}

function isWide() {
  return innerWidth >= innerHeight;
}

function readTones() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(TONES.map((tone) => [tone, style.getPropertyValue(`--${tone}`).trim()]));
}
