/**
 * The agent's answers -> what there is to draw and to list. Pure.
 *
 * A member is a node of its mesh, so a host in two meshes is two, with a bridge between them. Other meshes and
 * prefixes are nodes of none: several meshes may reach them.
 */

const SHAPES = { mesh: "hexagon", prefix: "bar" };

export const memberId = (mesh, key) => `${mesh}/${key}`;

/** `answers`: for each mesh `{mesh, graph, members}`, `mesh` as the status has it. */
export function build(answers) {
  const model = { nodes: new Map(), edges: new Map(), routes: [], own: new Map(), carriers: new Map() };
  for (const answer of answers) addMembers(model, answer);
  for (const answer of answers) addEdges(model, answer);
  for (const answer of answers) addRoutes(model, answer.mesh);
  return model;
}

function addMembers(model, { mesh: { mesh }, graph, members }) {
  const known = new Map(members.map((member) => [member.node_key, member]));
  for (const node of graph.nodes) {
    if (node.kind !== "peer" && node.kind !== "client") continue;
    const member = known.get(node.id);
    const roles = [node.kind];
    if (member?.bridge) roles.push("bridge");
    if (member?.advertise.length) roles.push("exit");
    const id = memberId(mesh, node.id);
    if (node.own) model.own.set(mesh, id);
    model.nodes.set(id, {
      id, mesh, key: node.id, name: node.name, liveness: node.liveness, leader: node.leader, own: node.own, roles,
      shape: shapeOf(roles), text: textOf(mesh, node, member, roles), order: node.id,
    });
  }
}

function shapeOf(roles) {
  if (roles.includes("bridge")) return "diamond";
  if (roles.includes("exit")) return "triangle";
  return roles[0] === "client" ? "circle" : "square";
}

/** What a search looks at. */
function textOf(mesh, node, member, roles) {
  const more = member
    ? [member.alias, member.description, member.address, ...member.endpoints, ...member.advertise,
       ...Object.keys(member.services), ...Object.entries(member.static_peers).flat(), member.version]
    : [];
  return [mesh, node.name, ...roles, ...more].join("\n").toLowerCase();
}

function addEdges(model, { mesh: { mesh }, graph }) {
  for (const { source, target, kind } of graph.edges) {
    const from = memberId(mesh, source);
    if (kind === "bridge" || kind === "exit") addBeyond(model, from, target, kind);
    else addEdge(model, from, memberId(mesh, target), kind);
    if (kind === "home") model.carriers.set(from, memberId(mesh, target));
  }
}

/** A bridge into a mesh that this host knows ends at the same host there. */
function addBeyond(model, from, target, kind) {
  const [, name] = split(target);
  if (kind === "bridge" && model.own.has(name)) {
    const twin = memberId(name, model.nodes.get(from).key);
    if (model.nodes.has(twin)) addEdge(model, ...[from, twin].sort(), kind);
    return;
  }
  addNode(model, target, from);
  addEdge(model, from, target, kind);
}

function split(id) {
  const at = id.indexOf(":");
  return [id.slice(0, at), id.slice(at + 1)];
}

/** A mesh or a prefix; `near`: the node that it is drawn by. */
function addNode(model, id, near) {
  if (model.nodes.has(id)) return;
  const [kind, name] = split(id);
  const label = kind === "mesh" ? `mesh ${name}` : name;
  model.nodes.set(id, {
    id, mesh: null, key: null, name: label, liveness: null, leader: false, own: false, roles: [kind],
    shape: SHAPES[kind], near, order: id,
  });
}

function addEdge(model, source, target, kind) {
  if (model.nodes.has(source) && model.nodes.has(target)) {
    model.edges.set(`${kind} ${source} ${target}`, { source, target, kind });
  }
}

function addRoutes(model, mesh) {
  const names = new Map();
  for (const node of model.nodes.values()) if (node.mesh === mesh.mesh) names.set(node.name, node.id);
  for (const route of mesh.routes) {
    const via = names.get(route.via) ?? memberId(mesh.mesh, route.via);
    const way = model.nodes.has(via) ? wayTo(model, via) : [];
    for (const name of route.path) step(model, way, placeOf(model, name, way), `mesh:${name}`);
    if (route.mesh === null) step(model, way, null, `prefix:${route.prefix}`);
    model.routes.push({ ...route, id: `${mesh.mesh} ${route.prefix}`, from: mesh.mesh, way });
  }
}

/** A mesh that this host knows is entered where the way left the one before. */
function placeOf(model, name, way) {
  if (!model.own.has(name) || !way.length) return null;
  const key = model.nodes.get(way.at(-1)).key;
  const twin = key && memberId(name, key);
  return model.nodes.has(twin) ? twin : null;
}

function step(model, way, place, otherwise) {
  if (!way.length) return;
  const from = way.at(-1);
  const next = place ?? otherwise;
  if (!place) addNode(model, next, from);
  if (!model.nodes.get(from).key) addEdge(model, from, next, "beyond"); // what members reach is in the graph
  way.push(next);
}

/** By whom a packet of this host gets to a member: ids, from this host to the member. */
export function wayTo(model, id) {
  const node = model.nodes.get(id);
  const own = node && model.own.get(node.mesh);
  if (!own) return [];
  const steps = [own, model.nodes.get(own).roles[0] === "client" ? model.carriers.get(own) : null];
  if (node.roles[0] === "client" && id !== own) steps.push(model.carriers.get(id));
  return [...new Set([...(id === own ? [own] : steps), id].filter(Boolean))];
}

/** Keys are random: a few letters of one are in many. */
function isOf(node, word) {
  return node.text.includes(word) || (word.length >= 8 && node.key.toLowerCase().startsWith(word));
}

/** Members that a search wants, in the order of a list: trouble first. Every word must be found. */
export function find(model, words, mesh) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const rank = { down: 0, mute: 1, alive: 2 };
  const found = [...model.nodes.values()].filter(
    (node) =>
      node.key && (!mesh || node.mesh === mesh) &&
      wanted.every((word) => node.liveness === word || (!(word in rank) && isOf(node, word))),
  );
  const order = new Intl.Collator("en", { numeric: true }).compare;
  return found.sort((a, b) => rank[a.liveness] - rank[b.liveness] || order(a.name, b.name) || order(a.mesh, b.mesh));
}
