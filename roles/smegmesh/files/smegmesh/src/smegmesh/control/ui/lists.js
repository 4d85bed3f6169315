/** The same as the picture, to read: members, routes, what happened. */

import { find } from "./model.js";

const PAGE = 100; // rows at a time
const KEPT = 50; // lines of what happened
const SIGNS = { alive: "●", mute: "◐", down: "✕" };

const at = (id) => document.getElementById(id);

/** An element with text or children in it, never markup: what others say of themselves stays text. */
export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export class Members {
  /** `opened` hears the id of a member that is chosen. */
  constructor(opened) {
    this.body = at("members");
    this.more = at("more");
    this.limit = PAGE;
    this.found = [];
    this.body.addEventListener("click", ({ target }) => {
      const row = target.closest("tr");
      if (row) opened(row.dataset.id);
    });
    this.body.addEventListener("keydown", (event) => this.walk(event));
    this.more.addEventListener("click", () => {
      this.limit += PAGE;
      this.fill();
    });
  }

  /** List whom a search wants; returns their ids. */
  show(model, words, mesh) {
    this.model = model;
    this.many = model.own.size > 1 && !mesh;
    this.found = find(model, words, mesh);
    this.fill();
    return this.found.map((node) => node.id);
  }

  restart() {
    this.limit = PAGE;
  }

  fill() {
    const focused = document.activeElement?.closest("#members tr")?.dataset.id;
    const shown = this.found.slice(0, this.limit);
    this.body.replaceChildren(...shown.map((node) => this.row(node)));
    const left = this.found.length - shown.length;
    this.more.hidden = left === 0;
    this.more.textContent = `${left} more`;
    const first = this.buttonOf(focused) ?? this.body.querySelector("button");
    if (first) first.tabIndex = 0;
    if (focused) this.buttonOf(focused)?.focus({ preventScroll: true });
  }

  row(node) {
    const marks = [node.own && "(here)", node.leader && "★ leader"].filter(Boolean).join(" ");
    const button = make("button", { type: "button", tabindex: "-1" }, [node.name, marks].filter(Boolean).join(" "));
    const home = this.model.nodes.get(this.model.carriers.get(node.id));
    const state = make("td", { class: node.liveness }, `${SIGNS[node.liveness]} ${node.liveness}`);
    const roles = [...node.roles, this.many && `in ${node.mesh}`].filter(Boolean).join(", ");
    return make("tr", { "data-id": node.id }, make("th", { scope: "row" }, button), make("td", {}, roles), state,
      make("td", {}, home?.name ?? ""));
  }

  walk(event) {
    const buttons = [...this.body.querySelectorAll("button")];
    const here = buttons.indexOf(document.activeElement);
    const to = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to < 0) at("search").focus();
    else this.go(buttons[Math.min(to, buttons.length - 1)]);
  }

  enter() {
    this.go(this.body.querySelector("button"));
  }

  go(button) {
    if (!button) return;
    for (const other of this.body.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    button.tabIndex = 0;
    button.focus();
  }

  select(id) {
    for (const button of this.body.querySelectorAll("[aria-current]")) button.removeAttribute("aria-current");
    this.buttonOf(id)?.setAttribute("aria-current", "true");
  }

  buttonOf(id) {
    return id && this.body.querySelector(`tr[data-id="${CSS.escape(id)}"] button`);
  }
}

/** The routes that this host has; `opened` hears one that is chosen. */
export function showRoutes(model, mesh, opened) {
  const focused = document.activeElement?.dataset.route;
  const routes = model.routes.filter((route) => !mesh || route.from === mesh);
  const rows = routes.map((route) => {
    const what = route.mesh === null ? route.prefix : `mesh ${route.mesh}`;
    const used = route.used ? "" : ", not used by this host";
    const button = make("button", { type: "button", "data-route": route.id }, `${what} by ${route.via ?? "nobody"}${used}`);
    button.addEventListener("click", () => opened(route.id));
    return make("li", {}, button);
  });
  at("routes").replaceChildren(...(rows.length ? rows : [make("li", {}, "Nothing beyond the meshes is reached from here.")]));
  buttonOfRoute(focused)?.focus({ preventScroll: true });
}

export function selectRoute(id) {
  for (const button of at("routes").querySelectorAll("[aria-current]")) button.removeAttribute("aria-current");
  buttonOfRoute(id)?.setAttribute("aria-current", "true");
}

export const buttonOfRoute = (id) => id && at("routes").querySelector(`[data-route="${CSS.escape(id)}"]`);

/** An event as a sentence. */
export function sentence({ kind, mesh, member, liveness, text }) {
  const said = {
    appeared: `${member} appeared`,
    left: `${member} left`,
    liveness: `${member} is ${liveness}`,
    leader: member ? `${member} leads` : "nobody leads",
    alarm: text,
    missed: "some of what happened was missed",
  }[kind];
  return mesh ? `${mesh}: ${said}` : said;
}

export function log(event) {
  const time = new Date(event.time * 1000);
  const line = make("li", {}, make("time", { datetime: time.toISOString() }, time.toLocaleTimeString()), ` ${sentence(event)}`);
  at("log").prepend(line);
  while (at("log").children.length > KEPT) at("log").lastChild.remove();
}
