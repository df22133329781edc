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

// What a page fetches is a piece of it; an error is a page, and takes no piece's place.
/** @type {any} */ (globalThis).htmx?.config.noSwap.push("4xx", "5xx");

// A page that is hidden, or frozen by its reader, sends no polls; thawed, it is made anew.
let frozen = false;
document.addEventListener("outlast:freeze", () => {
  if (frozen) location.reload();
  frozen = true;
});
document.addEventListener("htmx:before:request", (event) => {
  const source = event.target instanceof Element ? event.target : null;
  if ((document.hidden || frozen) && source?.hasAttribute("data-polls")) event.preventDefault();
});

// A form is sent once, though its reader presses again while the answer is on its way.
const PATIENCE = 10000;
/** @type {WeakMap<EventTarget, number>} */
const sent = new WeakMap();
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || form.method !== "post" || event.defaultPrevented) return;
  const before = sent.get(form);
  if (before !== undefined && performance.now() - before < PATIENCE) event.preventDefault();
  else sent.set(form, performance.now());
});
addEventListener("pageshow", (event) => {
  if (event.persisted) for (const form of document.forms) sent.delete(form);
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
