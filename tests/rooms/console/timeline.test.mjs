// The arithmetic of the timeline, in Node's own test runner.
import assert from "node:assert/strict";
import test from "node:test";
import { joined, lanes, marks, spoken, within, zoomed } from "../../../src/outlast/rooms/console/static/timeline.js";

test("steps that overlap are in different lanes, and a free lane is used again", () => {
  assert.deepEqual(lanes([0, 10, 12, 20], [10, 5, 3, 1]), [0, 0, 1, 0]);
  assert.deepEqual(lanes([], []), []);
});

test("later steps are joined with their own names of things", () => {
  const first = { start: [0], took: [5], kind: [0], number: [1], name: [0], names: ["model"], state: [0], states: ["done"], end: 5, later: 2 };
  const more = { start: [5, 7], took: [1, 9], kind: [1, 0], number: [2, 3], name: [0, 1], names: ["look", "model"], state: [0, 1], states: ["failed", "done"], end: 16, later: null };
  assert.deepEqual(joined(first, more), {
    start: [0, 5, 7], took: [5, 1, 9], kind: [0, 1, 0], number: [1, 2, 3],
    name: [0, 1, 0], names: ["model", "look"], state: [0, 1, 0], states: ["done", "failed"], end: 16, later: null,
  });
});

test("there are no more lanes than allowed", () => {
  const start = Array.from({ length: 100 }, () => 0);
  assert.equal(Math.max(...lanes(start, start.map(() => 5), 12)), 11);
});

test("a zoom keeps the time under the pointer and stays inside", () => {
  assert.deepEqual(zoomed({ from: 0, to: 100 }, 0.5, 0.5, 100), { from: 25, to: 75 });
  assert.deepEqual(zoomed({ from: 25, to: 75 }, 0.5, 0, 100), { from: 25, to: 50 });
  assert.deepEqual(zoomed({ from: 25, to: 75 }, Infinity, 0.5, 100), { from: 0, to: 100 });
  assert.deepEqual(zoomed({ from: 0, to: 100 }, 1e-9, 0, 100), { from: 0, to: 10 });
  assert.deepEqual(zoomed({ from: 0, to: 1 }, 0.5, 0.5, 1), { from: 0, to: 1 });
});

test("a span is moved to where it is inside", () => {
  assert.deepEqual(within({ from: -5, to: 15 }, 100), { from: 0, to: 20 });
  assert.deepEqual(within({ from: 95, to: 115 }, 100), { from: 80, to: 100 });
});

test("marks are round times inside the span", () => {
  assert.deepEqual(marks({ from: 0, to: 1000 }, 5), [0, 200, 400, 600, 800, 1000]);
  assert.deepEqual(marks({ from: 130, to: 420 }, 3), [200, 300, 400]);
  assert.ok(marks({ from: 0, to: 40 * 864e5 }, 10).length <= 11);
});

test("durations are written as on the pages", () => {
  assert.deepEqual([812, 4310, 724000, 12000000].map(spoken), ["812 ms", "4.31 s", "12 min 4 s", "3 h 20 min"]);
});

