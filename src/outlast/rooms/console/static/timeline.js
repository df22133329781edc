// The timeline of an execution: its steps as bars over time, on a canvas. The table below says the same.
// @ts-check

/** @typedef {{start: number[], took: number[], kind: number[], number: number[], name: number[], names: string[], states: string[], state: number[], end: number, later: number | null}} Steps */
/** @typedef {{from: number, to: number}} Span */

/** The lane of each step, so that steps that overlap are below each other; at most `most` lanes.
 * @param {number[]} start @param {number[]} took @param {number} most @returns {number[]} */
export function lanes(start, took, most = 12) {
  /** @type {number[]} */
  const free = [];
  return start.map((at, n) => {
    let lane = free.findIndex((until) => until <= at);
    if (lane < 0) lane = free.length < most ? free.length : free.indexOf(Math.min(...free));
    free[lane] = Math.max(free[lane] ?? 0, at + took[n]);
    return lane;
  });
}

/** Steps with later ones behind them, which name things in places of their own.
 * @param {Steps} steps @param {Steps} more @returns {Steps} */
export function joined(steps, more) {
  const names = [...new Set([...steps.names, ...more.names])];
  const states = [...new Set([...steps.states, ...more.states])];
  return {
    start: steps.start.concat(more.start),
    took: steps.took.concat(more.took),
    kind: steps.kind.concat(more.kind),
    number: steps.number.concat(more.number),
    name: steps.name.concat(more.name.map((n) => names.indexOf(more.names[n]))),
    state: steps.state.concat(more.state.map((n) => states.indexOf(more.states[n]))),
    names,
    states,
    end: Math.max(steps.end, more.end),
    later: more.later,
  };
}

/** The span after a zoom that leaves the time at `share` of the width where it is, within 0 and `end`.
 * @param {Span} span @param {number} factor @param {number} share @param {number} end @returns {Span} */
export function zoomed(span, factor, share, end) {
  const width = Math.min(end, Math.max(Math.min(10, end), (span.to - span.from) * factor));
  const fixed = span.from + (span.to - span.from) * share;
  return within({ from: fixed - width * share, to: fixed + width * (1 - share) }, end);
}

/** The span moved to where it is within 0 and `end`. @param {Span} span @param {number} end @returns {Span} */
export function within(span, end) {
  const width = Math.min(end, span.to - span.from);
  const from = Math.max(0, Math.min(end - width, span.from));
  return { from, to: from + width };
}

/** Round times to mark, about `count` of them. @param {Span} span @param {number} count @returns {number[]} */
export function marks(span, count) {
  const least = (span.to - span.from) / Math.max(1, count);
  const units = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5, 72e5, 216e5, 432e5, 864e5];
  const unit = units.find((one) => one >= least) ?? Math.ceil(least / 864e5) * 864e5;
  const found = [];
  for (let at = Math.ceil(span.from / unit) * unit; at <= span.to; at += unit) found.push(at);
  return found;
}

/** A duration in words, as the pages write it. @param {number} millis @returns {string} */
export function spoken(millis) {
  if (millis < 1000) return `${Math.round(millis)} ms`;
  if (millis < 60000) return `${Number((millis / 1000).toFixed(2))} s`;
  if (millis < 3600000) return `${Math.floor(millis / 60000)} min ${Math.round((millis % 60000) / 1000)} s`;
  return `${Math.floor(millis / 3600000)} h ${Math.round((millis % 3600000) / 60000)} min`;
}

const LANE = 20;
const BAR = 14;
const TOP = 20;

/** Draw steps; what is returned draws them with later ones.
 * @param {HTMLElement} figure @param {Steps} steps @returns {(more: Steps) => void} */
function draw(figure, steps) {
  const canvas = /** @type {HTMLCanvasElement} */ (figure.querySelector("canvas"));
  const said = /** @type {HTMLElement} */ (figure.querySelector("[data-said]"));
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  /** @type {number[]} */
  let lane = [];
  let height = 0;
  let end = 0;
  /** @type {Span} */
  let span = { from: 0, to: 0 };
  let width = 1;
  let waiting = false;

  function paint() {
    waiting = false;
    const scale = devicePixelRatio || 1;
    width = canvas.clientWidth;
    canvas.width = width * scale;
    canvas.height = height * scale;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    const style = getComputedStyle(figure);
    const color = [...figure.querySelectorAll("[data-kind]")].map((one) => getComputedStyle(one).color);
    const perMilli = width / (span.to - span.from);
    pen.clearRect(0, 0, width, height);
    pen.font = `11px ${style.fontFamily}`;
    pen.textBaseline = "top";
    for (const at of marks(span, width / 110)) {
      const x = Math.round((at - span.from) * perMilli) + 0.5;
      pen.fillStyle = style.color;
      pen.globalAlpha = 0.15;
      pen.fillRect(x, 0, 1, height);
      pen.globalAlpha = 1;
      if (x < width - 60) pen.fillText(spoken(at), x + 4, 2);
    }
    for (let n = 0; n < steps.start.length; n += 1) {
      const x = (steps.start[n] - span.from) * perMilli;
      const w = Math.max(1.5, steps.took[n] * perMilli);
      if (x > width || x + w < 0) continue;
      pen.fillStyle = color[steps.kind[n]];
      const y = TOP + lane[n] * LANE;
      pen.fillRect(x, y, w > 4 ? w - 1 : w, BAR);
      if (w > 60) {
        pen.save();
        pen.beginPath();
        pen.rect(x, y, w - 4, BAR);
        pen.clip();
        pen.fillStyle = style.backgroundColor;
        pen.fillText(`${steps.number[n]} ${steps.names[steps.name[n]]}`, Math.max(4, x + 4), y + 2);
        pen.restore();
      }
    }
  }
  function soon() {
    if (!waiting) requestAnimationFrame(paint);
    waiting = true;
  }
  /** The step under the pointer; -1: none. @param {MouseEvent} event */
  function under(event) {
    const at = span.from + (event.offsetX / width) * (span.to - span.from);
    const near = (3 / width) * (span.to - span.from);
    const row = Math.floor((event.offsetY - TOP) / LANE);
    return steps.start.findIndex((start, n) => lane[n] === row && at >= start - near && at <= start + steps.took[n] + near);
  }
  /** @param {number} factor @param {number} share */
  function zoom(factor, share) {
    span = zoomed(span, factor, share, end);
    soon();
  }
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) return;
    event.preventDefault();
    if (event.shiftKey) {
      const by = ((event.deltaY || event.deltaX) / width) * (span.to - span.from);
      span = within({ from: span.from + by, to: span.to + by }, end);
      soon();
    } else zoom(event.deltaY > 0 ? 1.25 : 0.8, event.offsetX / width);
  }, { passive: false });
  let held = -1;
  let moved = 0;
  canvas.addEventListener("pointerdown", (event) => {
    held = event.offsetX;
    moved = 0;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (held >= 0) {
      const by = ((held - event.offsetX) / width) * (span.to - span.from);
      moved += Math.abs(held - event.offsetX);
      held = event.offsetX;
      span = within({ from: span.from + by, to: span.to + by }, end);
      soon();
      return;
    }
    const n = under(event);
    canvas.style.cursor = n < 0 ? "grab" : "pointer";
    said.textContent = n < 0 ? "" : `Step ${steps.number[n]}: ${steps.names[steps.name[n]]}, ${spoken(steps.took[n])}, ${steps.states[steps.state[n]]}`;
  });
  canvas.addEventListener("pointerup", (event) => {
    held = -1;
    const n = moved < 4 ? under(event) : -1;
    if (n >= 0) location.assign(`${figure.dataset.step}?step=${steps.number[n]}#step-${steps.number[n]}`);
  });
  for (const button of figure.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      const factor = Number(button.dataset.zoom);
      if (factor) zoom(factor, 0.5);
      else zoom(Infinity, 0.5);
    });
  }
  function measure() {
    const whole = span.from === 0 && span.to === end;
    lane = lanes(steps.start, steps.took);
    height = TOP + (Math.max(...lane, 0) + 1) * LANE + 4;
    canvas.style.height = `${height}px`;
    end = Math.max(1, steps.end);
    if (whole) span = { from: 0, to: end };
    paint();
    figure.dataset.drawn = String(steps.start.length);
  }
  new ResizeObserver(soon).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", soon);
  figure.hidden = false;
  measure();
  return (more) => {
    steps = joined(steps, more);
    measure();
  };
}

/** The columns from a step on; null if they cannot be had. @param {string} path @returns {Promise<Steps | null>} */
async function columns(path) {
  const answer = await fetch(path, { headers: { "HX-Request": "true" } });
  return answer.ok && answer.status === 200 ? answer.json() : null;
}

if (typeof document !== "undefined") {
  const figure = document.getElementById("timeline");
  const path = figure?.dataset.columns ?? "";
  let found = figure && (await columns(path));
  const add = figure && found ? draw(figure, found) : null;
  while (add && found?.later) {
    found = await columns(`${path}?from=${found.later}`);
    if (found) add(found);
  }
}
