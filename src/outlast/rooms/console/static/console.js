// The console's own script: it adds ease to pages that work without it.
// @ts-check

// A menu closes by a click elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll(".who details[open]")) {
    if (event.target instanceof Node && !menu.contains(event.target)) menu.removeAttribute("open");
  }
});

// On a phone the screens are a row that scrolls.
document.querySelector(".rail [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// Times say how long ago they are, by the server's clock.
const began = performance.now();
const units = /** @type {[number, string][]} */ ([[86400000, "d"], [3600000, "h"], [60000, "min"]]);
setInterval(() => {
  for (const time of document.querySelectorAll("time[data-now]")) {
    const now = Number(time.getAttribute("data-now")) + performance.now() - began;
    const at = Date.parse(time.getAttribute("datetime") ?? "");
    const unit = units.find(([millis]) => Math.abs(now - at) >= millis);
    const said = unit ? `${Math.floor(Math.abs(now - at) / unit[0])} ${unit[1]}` : "";
    time.textContent = at > now ? (said ? `in ${said}` : "soon") : said ? `${said} ago` : "just now";
  }
}, 20000);

// A page that is hidden, or frozen by its reader, sends no polls.
let frozen = false;
document.addEventListener("htmx:before:request", (event) => {
  const source = event.target instanceof Element ? event.target : null;
  if ((document.hidden || frozen) && source?.hasAttribute("data-polls")) event.preventDefault();
});

// The chosen step opens beside the transcript, without leaving the page.
document.addEventListener("click", async (event) => {
  const link = event.target instanceof Element ? event.target.closest("a[data-step]") : null;
  const panel = document.getElementById("inspector");
  const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0;
  if (!(link instanceof HTMLAnchorElement) || !panel || !plain) return;
  event.preventDefault();
  const answer = await fetch(link.dataset.step ?? "", { headers: { "HX-Request": "true" } });
  if (!answer.ok || answer.redirected || answer.status !== 200) {
    location.assign(link.href);
    return;
  }
  panel.innerHTML = await answer.text();
  for (const step of document.querySelectorAll(".step.chosen")) step.classList.remove("chosen");
  link.closest(".step")?.classList.add("chosen");
  history.replaceState(null, "", link.href);
  if (innerWidth < 1100) panel.focus();
});

// A live page follows its end while its reader is there; one button returns.
const state = document.getElementById("live-state");
/** @param {string} word */
function say(word) {
  if (state) state.textContent = state.dataset.word = word;
}
// The word for a stream that is open: what waits for a person or a client writes nothing.
function wordWhileOpen() {
  const status = document.getElementById("head")?.dataset.status ?? "";
  return ["suspended", "paused"].includes(status) ? "waits" : "live";
}
// A server that stops says so; another one, or itself, goes on soon.
let leaving = false;
/** @param {number} attempt */
const sayClosed = (attempt) => say(leaving && attempt < 5 ? "coming back" : "reconnecting");
// A stream whose first request fails is not tried again by its library.
const stream = document.getElementById("stream");
function tryAgain() {
  say("reconnecting");
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
// A reader may freeze the page, not the run; thawed, it is made anew, from the log.
document.addEventListener("outlast:freeze", () => {
  if (frozen) {
    location.reload();
    return;
  }
  frozen = true;
  if (state && state.textContent !== "ended") {
    stream?.remove();
    say("paused by you");
  }
});
if (state) {
  state.hidden = false;
  stream?.addEventListener("htmx:error", tryAgain);
  stream?.addEventListener("htmx:response:error", (event) => {
    if (/** @type {any} */ (event).detail?.ctx?.response?.status >= 500) tryAgain();
    else say("ended");
  });
  addEventListener("scroll", () => {
    following = isAtEnd();
    if (following) document.querySelector(".follow")?.remove();
  }, { passive: true });
  document.addEventListener("htmx:sse:after:message", (event) => {
    const message = /** @type {any} */ (event).detail?.message;
    if (message?.id) {
      state.title = `Behind ${message.id}`;
      say(wordWhileOpen());
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
  stream?.addEventListener("leaving", () => { leaving = true; });
  document.addEventListener("htmx:sse:after:connection", () => {
    leaving = false;
    say(wordWhileOpen());
  });
  document.addEventListener("htmx:sse:error", (event) => {
    if (!frozen) sayClosed(/** @type {any} */ (event).detail?.connection?.attempt ?? 0);
  });
  document.addEventListener("htmx:sse:before:connection", (event) => {
    const attempt = /** @type {any} */ (event).detail?.connection?.attempt ?? 0;
    if (attempt > 0) sayClosed(attempt);
  });
  document.addEventListener("htmx:sse:close", (event) => {
    if (frozen) return;
    say("ended");
    if (/** @type {any} */ (event).detail?.reason !== "message") return;
    stream?.remove();
    for (const word of document.querySelectorAll("[data-idle]")) word.textContent = word.getAttribute("data-idle");
    for (const button of document.querySelectorAll("[data-busy]")) button.remove();
  });
}
