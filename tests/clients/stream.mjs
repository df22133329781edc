// The TypeScript client: streams a run, and says what it saw; `client` is the compiled module.
import { text } from "node:stream/consumers";

const { client, url, key, agent, input, abortAfter } = JSON.parse(await text(process.stdin));
const { Outlast, OutlastError } = await import(client);

const outlast = new Outlast({ url, key });
const control = new AbortController();
const frames = [];
let aborted = false;
try {
  for await (const frame of outlast.stream(agent, input, {}, { signal: control.signal })) {
    frames.push(frame);
    if (frame.type === "text_delta") process.stderr.write(".");
    if (frame.type === "approval_requested")
      await outlast.decide(frames[0].executionId, frame.toolCallId, { approved: true });
    if (frames.length === abortAfter) control.abort();
  }
} catch (error) {
  if (error.name !== "AbortError") throw error;
  aborted = true;
}
let refused = null;
try {
  await outlast.get("exec_01k6zj3t7hf2a9q1x5m8r4c0vb");
} catch (error) {
  if (!(error instanceof OutlastError)) throw error;
  refused = [error.status, error.code, error.requestId !== null];
}
const listed = [];
for await (const one of outlast.each((page) => outlast.list({ ...page, limit: 2 }))) listed.push(one.id);
const requestIds = [];
await outlast.agents({}, { onResponse: (answer) => requestIds.push(answer.headers.get("x-request-id")) });
let tries = 0;
const cut = async () => {
  tries += 1;
  throw new Error("cut");
};
const waits = (_, { signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
const lost = [];
const alive = setInterval(() => {}, 1000); // a signal's time alone does not keep Node running
for (const [fetch, bounds] of [[cut, { retries: 1 }], [waits, { retries: 0, timeout: 0.01 }]]) {
  await new Outlast({ url, key, fetch }).agents({}, bounds).catch((error) => lost.push(error.name));
}
clearInterval(alive);
console.log(JSON.stringify({ frames, aborted, refused, listed, requestIds, tries, lost }));
