// How a page's stream stands, in Node's own test runner.
import assert from "node:assert/strict";
import test from "node:test";
import { Standing } from "../../../src/outlast/rooms/console/static/live.js";

const open = (takeover = 0) => {
  const standing = new Standing(takeover, "1-2");
  standing.opened(0);
  return standing;
};

test("an open stream is live, or waits for a person or a client", () => {
  const standing = new Standing();
  assert.equal(standing.word("running", 0), "connecting");
  standing.opened(0);
  assert.deepEqual(["running", "queued"].map((status) => standing.word(status, 0)), ["live", "live"]);
  assert.deepEqual(["suspended", "paused"].map((status) => standing.word(status, 0)), ["waits", "waits"]);
});

test("a server that leaves comes back, however many tries it takes, and for a while", () => {
  const standing = open();
  standing.leaves(1000);
  for (let tries = 0; tries < 50; tries++) standing.cut(1000 + tries);
  assert.equal(standing.word("suspended", 200000), "coming back");
  assert.equal(standing.word("suspended", 900000), "reconnecting");
  standing.opened(900000);
  assert.equal(standing.word("suspended", 900000), "waits");
  standing.cut(900001);
  assert.equal(standing.word("suspended", 900002), "reconnecting", "the word of the last one");
});

test("a server that is lost says nothing, and another process goes on within its time", () => {
  const standing = open(10000);
  standing.cut(1000);
  assert.equal(standing.word("running", 1500), "reconnecting");
  assert.equal(standing.seconds("running", 1500), 0, "without a connection nothing is known");
  standing.opened(3000);
  assert.equal(standing.word("running", 3000), "live");
  assert.equal(standing.seconds("running", 3000), 8);
  assert.equal(standing.seconds("suspended", 3000), 0, "nobody ran it");
  assert.equal(standing.seconds("running", 11000), 0, "its time is over");
  standing.moved("1-9", 3001);
  assert.equal(standing.seconds("running", 3001), 8, "what was written before it was lost");
  standing.moved("2-10", 3002);
  assert.equal(standing.seconds("running", 3002), 0, "another process has begun");
  standing.cut(4000);
  standing.opened(5000);
  assert.equal(standing.seconds("running", 5000), 9);
  standing.moved("2-11", 8000);
  assert.equal(standing.seconds("running", 8000), 0, "its worker was not lost");
});

test("none is lost that has said that it leaves, that the page let go of, or that never answered", () => {
  const left = open(10000), slept = open(10000), first = new Standing(10000);
  left.leaves(1000);
  left.cut(1001);
  slept.cut(1001, true);
  first.cut(1001);
  for (const standing of [left, slept, first]) {
    assert.notEqual(standing.word("running", 1002), "live");
    standing.opened(1003);
    assert.equal(standing.word("running", 1003), "live");
    assert.equal(standing.seconds("running", 1003), 0);
  }
});

test("what has ended stays so, whatever the connection does, and a frozen page says so", () => {
  const ended = open(), frozen = open();
  ended.ended();
  ended.cut(1);
  ended.opened(2);
  ended.frozen = frozen.frozen = true;
  assert.equal(ended.word("completed", 2), "ended");
  assert.equal(frozen.word("running", 2), "paused by you");
});

test("a stream that does not begin is late, until it does", () => {
  const standing = new Standing();
  assert.equal(standing.isLate(90000), false, "of a hidden page nothing is requested");
  standing.begins(1000);
  assert.deepEqual([2000, 9000].map((now) => standing.isLate(now)), [false, true]);
  standing.begins(8999);
  assert.equal(standing.isLate(9000), true);
  standing.opened(9001);
  assert.equal(standing.isLate(99000), false);
});
