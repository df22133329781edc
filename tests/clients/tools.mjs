// npm `ai`, its first 6, newest 6 and 7: chats with client-side tools, over DefaultChatTransport.
// stdin {url, key, text, chats, generations}, stdout [{seen, messages}]. `seen.ran` has each run of
// a tool here, `seen.late` those of calls whose result the server had accepted before.
import * as first from "ai-first";
import * as six from "ai";
import * as next from "ai-next";
import { json } from "node:stream/consumers";

class State {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => {
    this.messages = this.messages.concat(message);
  };
  popMessage = () => {
    this.messages = this.messages.slice(0, -1);
  };
  replaceMessage = (index, message) => {
    this.messages = this.messages.with(index, structuredClone(message));
  };
  snapshot = (value) => structuredClone(value);
}

const { url, key, text, chats, generations } = await json(process.stdin);
const api = `${url}/run/api/executions`;
const headers = { authorization: `Bearer ${key}` };
const LOCATE = {
  name: "locate",
  description: "Where the user is",
  parameters: { type: "object", properties: { precise: { type: "boolean" } } },
};
const OUTPUTS = { locate: { city: "Berlin" }, pick: "report.pdf" };

function transportOf(ai, seen) {
  return new ai.DefaultChatTransport({
    api,
    headers,
    body: { clientTools: [LOCATE] },
    fetch: async (address, init) => {
      const response = await fetch(address, init);
      const run = response.headers.get("x-workflow-run-id");
      seen.run = run ?? seen.run;
      seen.statuses.push(response.status);
      if (response.ok && init?.method === "POST") {
        for (const message of JSON.parse(init.body).messages) {
          for (const part of message.parts) {
            if (part.state === "output-available") seen.accepted.push(part.toolCallId);
          }
        }
      }
      return response;
    },
    prepareReconnectToStreamRequest: ({ id }) => ({
      api: `${api}/${seen.byRun ? seen.run : id}/stream`,
      headers,
    }),
  });
}

function newChat(ai, id, seen) {
  class Chat extends ai.AbstractChat {
    constructor(init) {
      super({ ...init, state: new State() });
    }
  }
  const chat = new Chat({
    id,
    transport: transportOf(ai, seen),
    sendAutomaticallyWhen: (state) =>
      ai.lastAssistantMessageIsCompleteWithToolCalls(state) ||
      ai.lastAssistantMessageIsCompleteWithApprovalResponses(state),
    onToolCall: ({ toolCall: { toolName, toolCallId } }) => {
      if (!(toolName in OUTPUTS)) return;
      seen.ran.push(toolCallId);
      if (seen.accepted.includes(toolCallId)) seen.late.push(toolCallId);
      const given = { tool: toolName, toolCallId };
      if (text === "fails") {
        chat.addToolOutput({ ...given, state: "output-error", errorText: "No signal." });
      } else {
        (chat.addToolOutput ?? chat.addToolResult)({ ...given, output: OUTPUTS[toolName] });
      }
    },
    onError: (error) => seen.errors.push(String(error)),
  });
  return chat;
}

const ended = (chat) =>
  chat.lastMessage?.parts.some((part) => part.type === "text" && part.text.endsWith("is that."));
const asked = (chat) =>
  chat.lastMessage?.parts.find((part) => part.state === "approval-requested");
const turns = () => new Promise((resolve) => setTimeout(resolve, 1));
const busy = (chat) => chat.status === "submitted" || chat.status === "streaming";

// Until the chat has done by itself what it does by itself.
async function settled(chat) {
  for (let quiet = 0; quiet < 5; quiet = busy(chat) ? 0 : quiet + 1) await turns();
}

async function talk(ai, id) {
  const seen = { statuses: [], resumed: 0, byRun: false, errors: [] };
  Object.assign(seen, { ran: [], accepted: [], late: [] });
  const chat = newChat(ai, id, seen);
  await chat.sendMessage({ text });
  await settled(chat);
  while (!ended(chat)) {
    const part = asked(chat);
    if (part && chat.status === "ready") {
      await chat.addToolApprovalResponse({ id: part.approval.id, approved: true });
    } else {
      seen.resumed += 1;
      if (seen.run === undefined) await chat.sendMessage(); // no server has answered yet
      else await chat.resumeStream();
      if (seen.statuses.at(-1) === 204) seen.byRun = true; // the run has ended
    }
    await settled(chat);
  }
  return { seen, messages: chat.messages };
}

const found = [];
for (const generation of generations) {
  const ai = { first, six, next }[generation];
  for (let number = 0; number < chats; number += 1) {
    found.push(await talk(ai, crypto.randomUUID()));
  }
}
console.log(JSON.stringify(found));
