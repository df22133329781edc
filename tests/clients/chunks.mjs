// Reads streams as three generations of npm `ai` read them: stdin {name: text of the stream},
// stdout {generation: {name: {chunks, problems, message}}}.
import * as first from "ai-first";
import * as six from "ai";
import * as next from "ai-next";
import { text } from "node:stream/consumers";

async function read(ai, events) {
  const problems = [];
  const chunks = [];
  const parsed = ai.parseJsonEventStream({
    stream: new Blob([events]).stream(),
    schema: ai.uiMessageChunkSchema,
  });
  for await (const chunk of parsed) {
    if (chunk.success) chunks.push(chunk.value);
    else problems.push(String(chunk.error));
  }
  let message;
  const stream = ReadableStream.from(chunks.filter((chunk) => chunk.type !== "error"));
  const onError = (error) => problems.push(String(error));
  for await (const state of ai.readUIMessageStream({ stream, onError })) message = state;
  return { chunks: chunks.length, problems, message };
}

const streams = JSON.parse(await text(process.stdin));
const found = {};
for (const [generation, ai] of Object.entries({ first, six, next })) {
  found[generation] = {};
  for (const [name, events] of Object.entries(streams)) {
    found[generation][name] = await read(ai, events);
  }
}
console.log(JSON.stringify(found));
