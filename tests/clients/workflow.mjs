// npm `@workflow/ai`: one run through a transport that reconnects by index, and approves on the way.
import { WorkflowChatTransport } from "@workflow/ai";
import { readUIMessageStream } from "ai";
import { json } from "node:stream/consumers";

const { url, direct, key, text } = await json(process.stdin);
console.error = () => {}; // it tells of every cut
const headers = { authorization: `Bearer ${key}` };
let requests = 0;
let run;

const transport = new WorkflowChatTransport({
  api: `${url}/run/api/executions`,
  maxConsecutiveErrors: 10_000,
  fetch: (...given) => {
    requests += 1;
    return fetch(...given);
  },
  onChatSendMessage: (response) => {
    run = response.headers.get("x-workflow-run-id");
  },
  prepareSendMessagesRequest: ({ api, messages }) => ({ api, headers, body: { messages } }),
  prepareReconnectToStreamRequest: ({ api }) => ({ api, headers }),
});

async function approve(chunk) {
  const route = `${direct}/run/api/executions/${run}/approvals/${chunk.toolCallId}`;
  const body = JSON.stringify({ approved: true });
  const response = await fetch(route, { method: "POST", headers, body });
  if (!response.ok) throw new Error(await response.text());
}

const sent = await transport.sendMessages({
  chatId: "chat",
  trigger: "submit-message",
  messages: [{ id: "1", role: "user", parts: [{ type: "text", text }] }],
});
const chunks = [];
const stream = sent.pipeThrough(
  new TransformStream({
    async transform(chunk, controller) {
      chunks.push(chunk);
      controller.enqueue(chunk);
      if (chunk.type === "tool-approval-request") await approve(chunk);
    },
  }),
);
let message;
for await (const state of readUIMessageStream({ stream })) message = state;
console.log(JSON.stringify({ run, requests, chunks: chunks.length, message }));
