/** One member, one prefix or mesh beyond, or one route, in full. */

import { ask, inMesh } from "./api.js";
import { make } from "./lists.js";

const at = (id) => document.getElementById(id);

export class Details {
  /** `closed` hears that there is nothing to see any more, and finds where the reader goes on. */
  constructor(closed) {
    this.box = at("details");
    this.asked = 0;
    this.closed = closed;
    at("close").addEventListener("click", () => this.close());
  }

  get open() {
    return !this.box.hidden;
  }

  close() {
    if (!this.open) return;
    this.box.hidden = true;
    this.asked++;
    this.closed()?.focus();
  }

  /** A node with the way to it. What the model does not have is asked for. */
  async node(node, way, taken) {
    this.start(node.name, way, taken);
    if (!node.key) return this.list([["what", node.roles[0] === "mesh" ? "another mesh" : "a prefix outside the meshes"]]);
    const asked = this.asked;
    try {
      const member = await ask(inMesh(node.mesh, "members", node.key));
      if (asked === this.asked) this.list(facts(node.mesh, member));
    } catch (error) {
      if (asked === this.asked) this.list([["problem", error.message]]);
    }
  }

  route(route, way) {
    this.start(route.mesh === null ? route.prefix : `mesh ${route.mesh}`, way, true);
    this.list([
      ["prefix", route.prefix],
      ["from mesh", route.from],
      ["by member", route.via],
      ["through meshes", route.path.join(" → ")],
      ["used by this host", route.used ? "yes" : "no"],
    ]);
  }

  /** `taken`: by the reader, who is led here; else what is open is brought up to date. */
  start(title, way, taken) {
    this.asked++;
    this.box.hidden = false;
    at("details-title").textContent = title;
    at("way").textContent = way.length > 1 ? `From here: ${way.join(" → ")}` : "";
    if (!taken) return;
    at("facts").replaceChildren();
    at("details-title").focus();
  }

  list(facts) {
    const known = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
    at("facts").replaceChildren(...known.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]));
  }
}

function facts(mesh, member) {
  const roles = [member.role, member.bridge && "bridge", member.leader && "leader", member.own && "this host"];
  return [
    ["mesh", mesh],
    ["role", roles.filter(Boolean).join(", ")],
    ["state", member.liveness],
    ["alias", member.alias],
    ["description", member.description],
    ["address", member.address],
    ["endpoints", member.endpoints.join(", ")],
    ["home", member.home],
    ["backup", member.backup],
    ["advertises", member.advertise.join(", ")],
    ["services", Object.entries(member.services).map(([name, value]) => `${name} ${value}`).join(", ")],
    ["carries", Object.entries(member.static_peers).map(([name, address]) => `${name} ${address}`).join(", ")],
    ["tunnel by", member.through],
    ["preshared key", member.preshared_key ? "yes" : null],
    ["last handshake", member.own || member.handshake_age === null ? null : `${Math.round(member.handshake_age)} s ago`],
    ["received", member.own ? null : bytes(member.received)],
    ["sent", member.own ? null : bytes(member.sent)],
    ["agent", member.version],
    ["entry", member.number],
    ["node key", member.node_key],
  ];
}

function bytes(count) {
  const step = Math.min(4, Math.floor(Math.log10(Math.max(count, 1)) / 3));
  return `${(count / 1000 ** step).toLocaleString(undefined, { maximumFractionDigits: 1 })} ${["B", "kB", "MB", "GB", "TB"][step]}`;
}
