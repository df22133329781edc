// npm `eventsource`, which does what a browser's does: comes back by itself with Last-Event-ID.
import { EventSource } from "eventsource";
import { json } from "node:stream/consumers";

const { url } = await json(process.stdin);
const frames = [];
let connections = 0;

// Come back at once rather than in seconds: a `retry:` field before what the server says.
async function hurried(input, init) {
  connections += 1;
  const response = await fetch(input, init);
  const { readable, writable } = new TransformStream();
  const body = response.body && pipe(response.body, readable, writable);
  const { status, headers, redirected } = response;
  return { body, url: response.url, status, headers, redirected };
}

function pipe(body, readable, writable) {
  const writer = writable.getWriter();
  writer.write(new TextEncoder().encode("retry: 1\n\n"));
  writer.releaseLock();
  body.pipeTo(writable).catch(() => {});
  return readable;
}

await new Promise((resolve, reject) => {
  const source = new EventSource(url, { fetch: hurried });
  source.onmessage = ({ data, lastEventId }) => frames.push([lastEventId, data]);
  source.onerror = ({ code }) => {
    if (source.readyState !== EventSource.CLOSED) return; // it comes back
    if (code === 204) resolve(); // the server says: there is no more
    else reject(new Error(`closed with ${code}`));
  };
});
console.log(JSON.stringify({ connections, frames }));
