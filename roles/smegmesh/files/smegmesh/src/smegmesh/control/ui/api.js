/** What the agent says: questions, and its events as they come. */

const PATIENCE = 5000; // ms without a stream before it is said to be lost: over HTTPS it ends and comes back all the time
const AGAIN = 3000; // ms until a stream is tried anew that the browser gave up

/** The JSON at a path; an Error says what is wrong and what to do, in the agent's own words where there are any. */
export async function ask(path) {
  const answer = await fetch(path, { cache: "no-cache", headers: { Accept: "application/json" } });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error([problem.detail ?? `${path}: ${answer.status}`, problem.fix].filter(Boolean).join(": "));
  }
  return answer.json();
}

export const inMesh = (mesh, ...rest) => ["/v1/meshes", ...[mesh, ...rest].map(encodeURIComponent)].join("/");

/** Call `happened` with each event. `connected` hears true when the stream stands, false when it does not come back. */
export function follow(happened, connected) {
  let last = "";
  let patience = 0;
  const lose = () => {
    patience ||= setTimeout(() => connected(false), PATIENCE);
  };
  const open = () => {
    const source = new EventSource(last ? `/v1/events?last_event_id=${encodeURIComponent(last)}` : "/v1/events");
    source.onopen = () => {
      clearTimeout(patience);
      patience = 0;
      connected(true);
    };
    source.onerror = () => {
      lose();
      if (source.readyState === EventSource.CLOSED) setTimeout(open, AGAIN);
    };
    for (const kind of ["appeared", "left", "liveness", "leader", "alarm", "missed"]) {
      source.addEventListener(kind, (event) => {
        last = event.lastEventId;
        happened(JSON.parse(event.data));
      });
    }
  };
  open();
}
