/** The page: asks the agent, follows its events, and has picture, lists and details show the same. It changes nothing. */

import { ask, follow, inMesh } from "./api.js";
import { Details } from "./details.js";
import { Members, buttonOfRoute, log, make, selectRoute, sentence, showRoutes } from "./lists.js";
import { build, memberId, wayTo } from "./model.js";

const SOON = 500; // ms from news to what follows from it
const SHARE = 9; // times as long as it took to ask, nothing is asked again
const FAILED = 2000; // ms until it is asked again
const EVERY = 30000; // ms; for what no event tells of
const MANY_LINKS = 1500; // of more such lines a picture is grey
const AT_ONCE = 3; // news that are read out one by one

const at = (id) => document.getElementById(id);
const search = at("search");
const mesh = at("mesh");

let model = null;
let chosen = null; // {node: id} or {route: id}
let timer = 0;
let due = Infinity;
let asking = false;
let again = false;
let rested = 0;
let lost = true;
let news = [];

const picture = await draw();
const details = new Details(() => {
  const { node, route } = chosen ?? {};
  choose(null);
  return members.buttonOf(node) ?? buttonOfRoute(route);
});
const members = new Members((id) => choose({ node: id }, true));

/** Without WebGL not even the library can be loaded. */
async function draw() {
  try {
    const { Picture } = await import("./picture.js");
    return new Picture(at("picture"), (id) => (id ? choose(routeTo(id) ?? { node: id }) : details.close()));
  } catch {
    at("picture").hidden = at("view").hidden = true;
    at("no-picture").hidden = false;
    return null;
  }
}

/** Who clicks on a mesh or a prefix beyond wants to know how it is reached. */
function routeTo(id) {
  const routes = model.routes.filter(({ way }) => !model.nodes.get(id).key && way.at(-1) === id);
  const route = routes.find(({ used }) => used) ?? routes[0];
  return route && { route: route.id };
}

/** Ask for all, soon; never twice at a time, and the more rarely the longer it takes. */
function askIn(delay) {
  if (asking) {
    again = true;
    return;
  }
  const wanted = Math.max(performance.now() + delay, rested);
  if (wanted >= due) return;
  due = wanted;
  clearTimeout(timer);
  timer = setTimeout(askAll, wanted - performance.now());
}

async function askAll() {
  due = Infinity;
  if (document.hidden && model) return; // until somebody looks
  const began = performance.now();
  asking = true;
  again = false;
  let delay = EVERY;
  try {
    const status = await ask("/v1/status");
    const running = status.meshes.filter(({ role }) => role !== null); // of others there is only a problem
    const answers = await Promise.all(running.map((each) => askMesh(each).catch((error) => ({ mesh: each, error }))));
    take(status, answers.filter(({ error }) => !error), answers.filter(({ error }) => error));
  } catch (error) {
    say(error.message, true);
    delay = FAILED;
  }
  asking = false;
  rested = performance.now() + SHARE * (performance.now() - began);
  askIn(again ? 0 : delay);
}

async function askMesh(each) {
  const [graph, list] = await Promise.all([ask(inMesh(each.mesh, "graph")), ask(inMesh(each.mesh, "members"))]);
  return { mesh: each, graph, members: list };
}

function take(status, answers, failed) {
  const first = model === null;
  model = build(answers);
  document.title = `${status.node_name} – smegmesh`;
  at("host").textContent = status.node_name;
  const problems = [
    ...status.problems,
    ...status.meshes.filter(({ problem }) => problem).map((each) => `${each.mesh}: ${each.problem}`),
    ...status.meshes.flatMap((each) => [...each.alarms, ...each.names].map((alarm) => `${each.mesh}: ${alarm}`)),
    ...failed.filter(({ mesh: each }) => !each.problem).map(({ mesh: each, error }) => `${each.mesh}: ${error.message}`),
  ];
  at("problems").replaceChildren(...problems.map((problem) => make("li", {}, problem)));
  fillMeshes([...model.own.keys()]);
  if (first) {
    at("links").checked = [...model.edges.values()].filter(({ kind }) => kind === "ring" || kind === "backup").length <= MANY_LINKS;
    picture?.showLinks(at("links").checked);
  }
  say(lost ? "not live: it is asked from time to time" : "live", lost);
  picture?.show(model);
  show();
  if (first) requestAnimationFrame(() => performance.mark("drawn"));
}

function fillMeshes(names) {
  const known = [...mesh.options].slice(1).map(({ value }) => value);
  if (known.join() === names.sort().join()) return; // it may be open
  const shown = mesh.value;
  mesh.replaceChildren(make("option", { value: "" }, "all"), ...names.map((name) => make("option", { value: name }, name)));
  mesh.value = names.includes(shown) ? shown : "";
  if (mesh.value !== shown) picture?.showMesh("");
}

/** Lists and marks, as model, search and choice are. */
function show() {
  const found = members.show(model, search.value, mesh.value);
  showRoutes(model, mesh.value, (id) => choose({ route: id }, true));
  summarize();
  open(false);
  if (!chosen) picture?.mark(search.value.trim() ? found : null);
}

function summarize() {
  const shown = [...model.nodes.values()].filter((node) => node.key && (!mesh.value || node.mesh === mesh.value));
  const count = (liveness) => shown.filter((node) => node.liveness === liveness).length;
  const meshes = mesh.value ? `mesh ${mesh.value}` : `${model.own.size} ${model.own.size === 1 ? "mesh" : "meshes"}`;
  at("summary").textContent =
    `${meshes}: ${shown.length} members, ${count("alive")} alive, ${count("mute")} mute, ${count("down")} down`;
}

/** Have a node or a route in full and its way marked; `led`: the picture goes there, too. */
function choose(what, led = false) {
  chosen = what;
  if (!what) return show();
  open(true);
  if (led && chosen) picture?.frame(marked().way);
}

function marked() {
  const route = chosen.route && model.routes.find(({ id }) => id === chosen.route);
  const way = route ? route.way : model.nodes.get(chosen.node)?.key ? wayTo(model, chosen.node) : [];
  return { route, way };
}

function open(taken) {
  members.select(chosen?.node);
  selectRoute(chosen?.route);
  if (!chosen) return;
  const { route, way } = marked();
  const node = model.nodes.get(chosen.node);
  if (!route && !node) return details.close(); // it is gone
  const names = way.map((id) => model.nodes.get(id).name);
  if (route) details.route(route, names);
  else details.node(node, names, taken);
  picture?.markWay(node?.id ?? null, way);
}

function happened(event) {
  log(event);
  news.push(sentence(event));
  if (news.length === 1) setTimeout(tell, SOON);
  const id = event.mesh && memberId(event.mesh, event.node_key);
  if (event.kind === "liveness" && model?.nodes.has(id)) {
    model.nodes.get(id).liveness = event.liveness;
    picture?.setLiveness(id, event.liveness);
  }
}

/** What came at once is shown and read out at once. */
function tell() {
  at("news").textContent = news.length > AT_ONCE ? `${news.length} changes` : news.join(". ");
  news = [];
  if (model) show();
  askIn(0);
}

function say(text, wrong = false) {
  if (at("state").textContent === text) return;
  at("state").textContent = text;
  at("state").classList.toggle("lost", wrong);
}

search.addEventListener("input", () => {
  members.restart();
  if (chosen) details.close();
  else if (model) show();
});
search.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") members.enter();
  else if (event.key === "Escape" && search.value) {
    search.value = "";
    search.dispatchEvent(new Event("input"));
  } else return;
  event.preventDefault();
});
at("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (members.found.length) choose({ node: members.found[0].id }, true);
});
mesh.addEventListener("change", () => {
  members.restart();
  picture?.showMesh(mesh.value);
  if (model) show();
});
at("links").addEventListener("change", () => picture?.showLinks(at("links").checked));
at("closer").addEventListener("click", () => picture.zoom(1 / 1.5));
at("farther").addEventListener("click", () => picture.zoom(1.5));
at("fit").addEventListener("click", () => picture.fit());
document.addEventListener("keydown", (event) => {
  const typing = ["INPUT", "SELECT"].includes(event.target.tagName);
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "Escape" && details.open) details.close();
});
document.addEventListener("visibilitychange", () => document.hidden || askIn(0));

follow(happened, (connected) => {
  if (!connected) say("no connection to the agent; trying again", true);
  else if (!lost) return; // what happened meanwhile is told
  lost = !connected;
  askIn(0);
});
window.smegmesh = { drawn: () => picture.drawn() };
