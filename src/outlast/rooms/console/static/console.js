// The console's own script: it adds ease to pages that work without it.
// @ts-check

const root = document.body.dataset.root ?? "/console";

// A menu closes by Escape, and by a click elsewhere.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll(".who details[open]")) {
    menu.removeAttribute("open");
    menu.querySelector("summary")?.focus();
  }
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll(".who details[open]")) {
    if (event.target instanceof Node && !menu.contains(event.target)) menu.removeAttribute("open");
  }
});

// Keys: g and a letter goes to a screen. None decides anything; all are off where one types.
const editing = (target) =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
let going = 0;
document.addEventListener("keydown", (event) => {
  if (editing(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "g") {
    going = event.timeStamp;
    return;
  }
  const screen = document.querySelector(`.rail a[data-key="${CSS.escape(event.key)}"]`);
  if (screen instanceof HTMLAnchorElement && going && event.timeStamp - going < 1500) screen.click();
  going = 0;
});

export { root };
