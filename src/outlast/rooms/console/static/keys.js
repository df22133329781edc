// Keys of the keyboard, the palette, peeking, and the tree of what was called. None decides anything.
// @ts-check

const root = document.body.dataset.root ?? "";
const ID = /(?:exec|conv|agt|sch|mem|item|key|cp)_[0-9a-z]{26}/g;

/** @param {EventTarget | null} target */
const editing = (target) =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && !/** @type {any} */ (target).matches("[type=checkbox], [type=radio]"));

/** @param {string} said */
function toast(said) {
  const line = document.createElement("div");
  line.className = "toast";
  line.setAttribute("role", "status");
  line.textContent = said;
  document.body.append(line);
  setTimeout(() => line.remove(), 2000);
}

/** The clipboard is missing on plain HTTP beyond localhost. @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const before = document.activeElement;
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    if (before instanceof HTMLElement) before.focus({ preventScroll: true });
  }
  toast(text.includes("\n") ? `Copied ${text.split("\n").length} ids` : `Copied ${text}`);
}

/** A fragment of the console; null if it cannot be had. @param {string} path */
async function fragment(path) {
  const answer = await fetch(path, { headers: { "HX-Request": "true" } });
  return answer.ok && !answer.redirected && answer.status === 200 ? answer.text() : null;
}

/** @param {number} by */
function walk(by) {
  const links = [...document.querySelectorAll(".list .input a, .step-number, .waiting a.title")];
  const at = links.indexOf(/** @type {Element} */ (document.activeElement));
  const next = links[Math.max(0, Math.min(links.length - 1, at + by))];
  if (!(next instanceof HTMLElement)) return;
  next.focus();
  next.scrollIntoView({ block: "nearest" });
  if (document.querySelector(".peek")) peek();
}

/** The row in the focus, beside the list. */
async function peek() {
  const link = document.activeElement;
  if (!(link instanceof HTMLAnchorElement) || !link.closest(".list")) return;
  const content = await fragment(`${link.href}/peek`);
  if (content === null) return;
  const panel = document.querySelector(".peek") ?? document.createElement("aside");
  panel.className = "peek stack";
  panel.setAttribute("aria-label", "A look at the execution");
  panel.innerHTML = content;
  document.getElementById("main")?.append(panel);
}

function palette() {
  if (document.querySelector("dialog.palette")) return;
  const dialog = document.createElement("dialog");
  dialog.className = "palette";
  dialog.setAttribute("aria-label", "Go to");
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "A screen, an agent or an id";
  input.setAttribute("aria-label", "A screen, an agent or an id");
  input.autocomplete = "off";
  const list = document.createElement("ul");
  list.className = "plain";
  dialog.append(input, list);
  document.body.append(dialog);
  let newest = 0;
  async function search() {
    const own = ++newest;
    const found = await fragment(`${root}/palette?q=${encodeURIComponent(input.value)}`);
    if (found !== null && own === newest) list.innerHTML = found;
  }
  let waiting = 0;
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, 120);
  });
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("keydown", async (event) => {
    const links = [...dialog.querySelectorAll("a")];
    const at = links.indexOf(/** @type {any} */ (document.activeElement));
    if (event.key === "ArrowDown") links[Math.min(links.length - 1, at + 1)]?.focus();
    else if (event.key === "ArrowUp") (links[at - 1] ?? input).focus();
    else if (event.key === "Enter" && at < 0) {
      clearTimeout(waiting);
      await search();
      dialog.querySelector("a")?.click();
    } else return;
    event.preventDefault();
  });
  dialog.showModal();
  search();
}

// The tree: one row has the focus; arrows walk, open and close.
/** @typedef {HTMLTableRowElement} Row */
const tree = document.querySelector(".tree");
const rows = () => /** @type {Row[]} */ ([...(tree?.querySelectorAll("tbody tr") ?? [])]);
const levelOf = (/** @type {Row} */ row) => Number(row.getAttribute("aria-level"));
/** @param {Row} row @param {boolean} open */
function fold(row, open) {
  if (!row.hasAttribute("aria-expanded")) return;
  for (const one of [row, row.querySelector(".fold")]) one?.setAttribute("aria-expanded", String(open));
  show();
}
/** Shows the rows whose parents are all open. */
function show() {
  let closed = Infinity;
  for (const row of rows()) {
    const level = levelOf(row);
    row.hidden = level > closed;
    if (!row.hidden) closed = row.getAttribute("aria-expanded") === "false" ? level : Infinity;
  }
}
/** @param {Row | undefined} row */
function focusRow(row) {
  if (!row) return;
  for (const one of rows()) one.tabIndex = one === row ? 0 : -1;
  row.focus();
}
/** @param {Row} row */
const parentOf = (row) => rows().slice(0, rows().indexOf(row)).reverse().find((one) => levelOf(one) < levelOf(row));
/** Whether the key was one of the tree's. @param {KeyboardEvent} event @param {Row} row */
function inTree(event, row) {
  const shown = rows().filter((one) => !one.hidden);
  const at = shown.indexOf(row);
  const open = row.getAttribute("aria-expanded");
  if (event.key === "ArrowDown" || event.key === "j") focusRow(shown[at + 1]);
  else if (event.key === "ArrowUp" || event.key === "k") focusRow(shown[at - 1]);
  else if (event.key === "Home" || event.key === "t") focusRow(shown[0]);
  else if (event.key === "End") focusRow(shown.at(-1));
  else if (event.key === "ArrowRight") open === "false" ? fold(row, true) : open && focusRow(shown[at + 1]);
  else if (event.key === "ArrowLeft") open === "true" ? fold(row, false) : focusRow(parentOf(row));
  else if (event.key === "Enter") row.querySelector("a")?.click();
  else if (event.key === "e" || event.key === "w") for (const one of rows()) fold(one, event.key === "e");
  else if (/^[0-9]$/.test(event.key)) for (const one of rows()) fold(one, levelOf(one) < Number(event.key));
  else return false;
  if (row.hidden) focusRow(rows().slice(0, rows().indexOf(row)).reverse().find((one) => !one.hidden));
  event.preventDefault();
  return true;
}
rows().forEach((row, n) => {
  row.tabIndex = n ? -1 : 0;
  for (const one of row.querySelectorAll("a, button")) one.setAttribute("tabindex", "-1");
  const button = /** @type {HTMLElement | null} */ (row.querySelector(".fold"));
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => fold(row, row.getAttribute("aria-expanded") === "false"));
});

// Several rows are chosen in the list.
const copier = document.getElementById("copy-ids");
if (copier) {
  copier.hidden = false;
  copier.addEventListener("click", () => copy([...document.querySelectorAll(".list input:checked")].map((one) => /** @type {HTMLInputElement} */ (one).value).join("\n")));
}

/** Whether something was open, and is closed now. */
function closed() {
  const panel = document.querySelector(".peek");
  const menus = document.querySelectorAll(".who details[open]");
  panel?.remove();
  for (const menu of menus) {
    menu.removeAttribute("open");
    menu.querySelector("summary")?.focus();
  }
  return Boolean(panel) || menus.length > 0 || document.querySelector("dialog[open], dialog:popover-open") !== null;
}

const off = document.body.dataset.keyboard === "off";
let going = 0;
/** @type {Record<string, () => void>} */
const single = {
  j: () => walk(1),
  k: () => walk(-1),
  o: peek,
  f: () => document.dispatchEvent(new Event("outlast:follow")),
  p: () => {
    document.dispatchEvent(new Event("outlast:freeze"));
    toast("Frozen: p goes on");
  },
  "?": () => location.assign(`${root}/help/console#keys-of-the-keyboard`),
  "/": () => document.getElementById("q")?.focus(),
  y: () => {
    const here = document.activeElement instanceof HTMLAnchorElement ? document.activeElement.pathname : "";
    const id = [...here.matchAll(ID), ...location.pathname.matchAll(ID)][0];
    if (id) copy(id[0]);
  },
};
document.addEventListener("keydown", (event) => {
  const mod = event.ctrlKey || event.metaKey;
  if (event.key === "Enter" && mod && event.target instanceof HTMLTextAreaElement) {
    event.target.form?.requestSubmit();
    return;
  }
  if (event.key === "Escape") {
    if (closed() || off) return;
    const crumbs = document.querySelectorAll(".crumbs a");
    if (editing(event.target)) /** @type {HTMLElement} */ (event.target).blur();
    else /** @type {HTMLElement | undefined} */ (crumbs[crumbs.length - 1])?.click();
    return;
  }
  if (off) return;
  if (mod && event.key === "k" && !event.altKey && !event.shiftKey) {
    event.preventDefault();
    palette();
    return;
  }
  if (editing(event.target) || mod || event.altKey || document.querySelector("dialog[open]")) return;
  const row = event.target instanceof HTMLElement ? event.target.closest(".tree tbody tr") : null;
  if (going && event.timeStamp - going < 1500) {
    const screen = document.querySelector(`.rail a[data-key="${CSS.escape(event.key)}"]`);
    going = 0;
    if (screen instanceof HTMLAnchorElement) screen.click();
  } else if (event.key === "g") going = event.timeStamp;
  else if (row && inTree(event, /** @type {Row} */ (row))) return;
  else if (Object.hasOwn(single, event.key)) {
    if (event.key === "/") event.preventDefault();
    single[event.key]();
  }
});
