// A live page says how its stream stands, and follows its end while its reader is there.
// @ts-check

const COMING_BACK_MILLIS = 300000; // A server that has not come back by then is only missed.
const LONGEST_DELAY = 4000; // Between two tries to connect again, in milliseconds.
const CATCHING_UP_MILLIS = 2000; // What a new connection brings by then was written before it.
const LATE_MILLIS = 8000; // After which a stream that has not begun is one that something holds back.
const GONE = [400, 401, 403, 404, 410]; // What tries again would only meet again.
const WAITING = ["suspended", "paused"]; // What waits for a person or a client writes nothing.

const segmentOf = (/** @type {string} */ cursor) => Number.parseInt(cursor, 10) || 0;

/** How a stream stands, from what has happened to it; it knows neither clock nor page. */
export class Standing {
  /** @param {number} takeover Milliseconds in which a lost worker's work goes on; 0: at once. @param {string} cursor */
  constructor(takeover = 0, cursor = "") {
    this.takeover = takeover;
    this.segment = segmentOf(cursor); // A worker that takes over begins a new one.
    this.openedAt = 0;
    this.is = "connecting";
    this.beganAt = Infinity; // When it was requested for the first time.
    this.left = -Infinity; // When the server said that it leaves; it is forgotten once one answers.
    this.lost = -Infinity; // When the connection was cut without a word.
    this.frozen = false;
  }

  /** It is requested. @param {number} now */
  begins(now) {
    this.beganAt = Math.min(this.beganAt, now);
  }

  /** Whether its first answer should have come by now. @param {number} now */
  isLate(now) {
    return this.is === "connecting" && !this.frozen && now - this.beganAt >= LATE_MILLIS;
  }

  /** A server answers. @param {number} now */
  opened(now) {
    if (this.is === "ended") return;
    if (this.left > -Infinity) this.lost = -Infinity;
    this.is = "open";
    this.left = -Infinity;
    this.openedAt = now;
  }

  /** The log has come to a cursor: if that is new, a worker has the execution. @param {string} cursor @param {number} now */
  moved(cursor, now) {
    const segment = segmentOf(cursor);
    if (segment > this.segment || now - this.openedAt >= CATCHING_UP_MILLIS) this.lost = -Infinity;
    this.segment = segment;
  }

  /** The server says that it leaves. @param {number} now */
  leaves(now) {
    this.left = now;
  }

  /** There is no connection. @param {number} now @param {boolean} hidden The page let go of it. */
  cut(now, hidden = false) {
    if (this.is === "ended") return;
    if (this.is === "open" && !hidden) this.lost = now;
    this.is = "cut";
  }

  ended() {
    this.is = "ended";
  }

  /** The word for it. @param {string} status The execution's. @param {number} now */
  word(status, now) {
    if (this.is === "ended") return "ended";
    if (this.frozen) return "paused by you";
    if (this.is === "open") return WAITING.includes(status) ? "waits" : "live";
    if (this.is === "connecting") return "connecting";
    return now - this.left < COMING_BACK_MILLIS ? "coming back" : "reconnecting";
  }

  /** In how many seconds a worker that may be lost is replaced; 0: none may be. @param {string} status @param {number} now */
  seconds(status, now) {
    if (this.is !== "open" || status !== "running" || this.frozen) return 0;
    return Math.max(0, Math.ceil((this.lost + this.takeover - now) / 1000));
  }
}

/** @param {HTMLElement} state */
function live(state) {
  const stream = document.getElementById("stream");
  const standing = new Standing(Number(state.dataset.takeover ?? 0), state.title.replace("Behind ", ""));
  const at = (/** @type {Event} */ event) => /** @type {any} */ (event).detail ?? {};

  function show() {
    const status = document.getElementById("head")?.dataset.status ?? "", now = performance.now();
    const word = standing.word(status, now), seconds = standing.seconds(status, now);
    if (state.dataset.word !== word) state.textContent = state.dataset.word = word;
    let note = document.getElementById("live-note");
    if (!seconds && !standing.isLate(now)) note?.remove();
    else if (!note) {
      note = document.createElement("p");
      note.id = "live-note";
      note.className = "note small";
      note.setAttribute("role", "status");
      note.textContent = seconds
        ? `The server was lost. If this ran there, another process goes on with it within ${seconds} s.`
        : "What is new does not come by itself: a proxy before the server may hold it back. Until then, reload the page.";
      document.getElementById("head")?.after(note);
      if (seconds) setTimeout(show, seconds * 1000);
    }
  }

  // A stream whose first request fails is not tried again by its library.
  function tryAgain() {
    standing.cut(performance.now());
    show();
    setTimeout(() => {
      const url = stream?.getAttribute("hx-sse:connect");
      if (stream?.isConnected && url) /** @type {any} */ (globalThis).htmx.ajax("GET", url, { source: stream });
    }, 1000);
  }

  let following = true;
  const isAtEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
  function follow() {
    following = true;
    document.querySelector(".follow")?.remove();
    scrollTo({ top: document.documentElement.scrollHeight });
  }
  document.addEventListener("outlast:follow", follow);
  addEventListener("scroll", () => {
    following = isAtEnd();
    if (following) document.querySelector(".follow")?.remove();
  }, { passive: true });

  state.hidden = false;
  let slept = document.hidden;
  document.addEventListener("visibilitychange", () => { slept ||= document.hidden; });
  // A reader may freeze the page, not the run.
  document.addEventListener("outlast:freeze", () => {
    standing.frozen = true;
    if (standing.is !== "ended") stream?.remove();
    show();
  });
  stream?.addEventListener("htmx:before:request", () => {
    standing.begins(performance.now());
    setTimeout(show, LATE_MILLIS);
  });
  stream?.addEventListener("htmx:error", tryAgain);
  stream?.addEventListener("htmx:response:error", (event) => {
    const status = at(event).ctx?.response?.status;
    if (status >= 500) tryAgain();
    else if (status === 404) location.reload(); // Deleted since: the new page says it.
    else standing.ended();
    show();
  });
  document.addEventListener("htmx:sse:before:connection", (event) => {
    const { attempt = 0, config } = at(event).connection ?? {};
    if (config) config.reconnectMaxDelay = LONGEST_DELAY;
    if (attempt > 0) standing.cut(performance.now(), slept);
    slept = document.hidden;
    show();
  });
  document.addEventListener("htmx:sse:after:connection", (event) => {
    if (at(event).connection?.status !== 200) location.reload(); // Its session has ended.
    standing.opened(performance.now());
    show();
  });
  document.addEventListener("htmx:sse:error", (event) => {
    // What the page shows is gone, or not this reader's any more: the new page says it.
    if (GONE.includes(at(event).status)) location.reload();
    else standing.cut(performance.now(), slept);
    show();
  });
  stream?.addEventListener("leaving", () => standing.leaves(performance.now()));
  document.addEventListener("htmx:sse:after:message", (event) => {
    const id = at(event).message?.id;
    if (id) {
      state.title = `Behind ${id}`;
      standing.moved(id, performance.now());
      show();
    }
    if (following && document.documentElement.scrollHeight > innerHeight && scrollY > 0) follow();
    else if (!isAtEnd() && !document.querySelector(".follow")) {
      const button = document.createElement("button");
      button.className = "follow";
      button.textContent = "Follow the end";
      button.addEventListener("click", follow);
      document.getElementById("main")?.append(button);
    }
  });
  document.addEventListener("htmx:sse:close", (event) => {
    if (standing.frozen) return;
    standing.ended();
    show();
    if (at(event).reason !== "message") return;
    stream?.remove();
    for (const word of document.querySelectorAll("[data-idle]")) word.textContent = word.getAttribute("data-idle");
    for (const button of document.querySelectorAll("[data-busy]")) button.remove();
  });
}

const state = globalThis.document?.getElementById("live-state");
if (state) live(state);
