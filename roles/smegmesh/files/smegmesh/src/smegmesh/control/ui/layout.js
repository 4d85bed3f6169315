/**
 * Where each node is: a function of the model alone, so the same mesh has the same picture everywhere, and no time
 * goes into forces. Peers stand on a ring in the order of their keys, which are random; clients around their homes,
 * in the pattern of a sunflower (Vogel 1979); other meshes and prefixes outside, by whoever reaches them.
 */

const GOLDEN = Math.PI * (3 - Math.sqrt(5));
const CLIENT = 0.55; // between clients
const PEER = 1.6; // between peers without clients
const LEAST = 3.2; // radius of a ring, so that few peers are no giants
const GAP = 2; // between meshes, beside what lies around them

/** Node id -> `{x, y, size}`. `wide`: whether there is more room across than down. */
export function place(model, wide) {
  const places = new Map();
  const nodes = [...model.nodes.values()].sort((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : 0));
  const meshes = [...model.own.keys()].sort();
  const columns = wide ? Math.ceil(Math.sqrt(meshes.length)) : 1;
  const rings = meshes.map((mesh) => ringOf(model, nodes.filter((node) => node.mesh === mesh)));
  const cell = 2 * Math.max(...rings.map((ring) => ring.outer), 0) + GAP;
  rings.forEach((ring, number) => {
    const centre = { x: (number % columns) * cell, y: -Math.floor(number / columns) * cell };
    placeRing(model, ring, centre, places);
  });
  placeBeyond(nodes, meshes, rings, places);
  return places;
}

function ringOf(model, members) {
  const peers = members.filter((node) => node.roles[0] === "peer");
  const around = new Map(peers.map((peer) => [peer.id, []]));
  const homeless = [];
  for (const node of members) {
    if (node.roles[0] === "client") (around.get(model.carriers.get(node.id)) ?? homeless).push(node);
  }
  const most = Math.max(...[...around.values()].map((clients) => clients.length), 0);
  const space = PEER + (most ? 2 * (CLIENT * Math.sqrt(most + 3)) : 0);
  const rows = Math.max(1, Math.floor(Math.sqrt(peers.length) / 5));
  const inner = Math.max(LEAST, (peers.length * space) / rows / 2 / Math.PI);
  return { peers, around, homeless, space, rows, inner, outer: inner + rows * space + 2 };
}

function placeRing(model, ring, centre, places) {
  const { peers, around, space, rows, inner } = ring;
  Object.assign(ring, centre);
  peers.forEach((peer, number) => {
    const angle = Math.PI / 2 - (2 * Math.PI * number) / peers.length;
    const at = polar(centre, angle, peers.length === 1 ? 0 : inner + (number % rows) * space);
    places.set(peer.id, { ...at, size: 0.6, angle });
    placeAround(around.get(peer.id), at, angle, places);
  });
  placeAround(ring.homeless, centre, 0, places);
}

function placeAround(clients, at, angle, places) {
  clients.forEach((client, number) => {
    const turned = angle + (clients.length < 4 ? (number - (clients.length - 1) / 2) * 0.9 : number * GOLDEN);
    const away = CLIENT * Math.sqrt(number + 3);
    places.set(client.id, { ...polar(at, turned, clients.length < 4 ? 1.2 : away), size: 0.36, angle });
  });
}

/** Around the ring of whoever reaches it, at its angle, or as near to that as there is room. */
function placeBeyond(nodes, meshes, rings, places) {
  const around = new Map(rings.map((ring) => [ring, []]));
  for (const node of nodes.filter((each) => !each.key)) {
    const member = originOf(node, nodes);
    const ring = rings[meshes.indexOf(member.mesh)];
    around.get(ring).push({ node, angle: places.get(member.id).angle });
  }
  for (const [ring, those] of around) {
    const gap = Math.min(2.5 / ring.outer, (2 * Math.PI) / (those.length + 1));
    let last = -Infinity;
    for (const { node, angle } of those.sort((a, b) => a.angle - b.angle)) {
      last = Math.max(angle, last + gap);
      places.set(node.id, { ...polar(ring, last, ring.outer), size: 0.5, angle: last });
    }
  }
}

function originOf(node, nodes) {
  const known = new Map(nodes.map((each) => [each.id, each]));
  while (!node.key) node = known.get(node.near);
  return node;
}

const polar = ({ x, y }, angle, away) => ({ x: x + away * Math.cos(angle), y: y + away * Math.sin(angle) });
