// npm `ai`: chats over DefaultChatTransport. Each sends, is cut, resumes by its chat id or its run,
// approves as the AI SDK does (a second request with the answer in the message), resumes again.
import {
  AbstractChat,
  DefaultChatTransport,
  lastAssistantMessageIsCompleteWithApprovalResponses,
} from "ai";
import { json } from "node:stream/consumers";

class State {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => this.messages.push(message);
  popMessage = () => this.messages.pop();
  replaceMessage = (index, message) => {
    this.messages[index] = structuredClone(message);
  };
  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {
  constructor(init) {
    super({ ...init, state: new State() });
  }
}

const { url, key, text, chats } = await json(process.stdin);
const api = `${url}/run/api/executions`;
const headers = { authorization: `Bearer ${key}` };

function newChat(id, seen) {
  const transport = new DefaultChatTransport({
    api,
    headers,
    fetch: async (...given) => {
      const response = await fetch(...given);
      seen.statuses.push(response.status);
      seen.run = response.headers.get("x-workflow-run-id") ?? seen.run;
      return response;
    },
    prepareReconnectToStreamRequest: ({ id: chatId }) => ({
      api: `${api}/${seen.byRun ? seen.run : chatId}/stream`,
      headers,
    }),
  });
  return new Chat({
    id,
    transport,
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
    onFinish: ({ isError, finishReason }) => {
      seen.ended = !isError && finishReason !== undefined;
    },
  });
}

const asked = (chat) =>
  chat.lastMessage?.parts.find((part) => part.state === "approval-requested");

async function resumeUntil(chat, seen, holds) {
  while (!holds()) {
    seen.resumed += 1;
    await chat.resumeStream();
    if (chat.status === "ready" && !holds()) seen.byRun = true; // 204: the run has ended
  }
}

async function settled(chat) {
  while (chat.status === "submitted" || chat.status === "streaming") {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function talk(id) {
  const seen = { statuses: [], resumed: 0, byRun: false, ended: false };
  const chat = newChat(id, seen);
  await chat.sendMessage({ text });
  // Cut before the approval: the run waits, and its stream by chat id is held open; so look for
  // the question while it streams, and hang up as a user who reloads the page does.
  while (!asked(chat)) {
    seen.resumed += 1;
    const resuming = chat.resumeStream();
    while (!asked(chat) && chat.status !== "error") {
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (asked(chat)) await chat.stop();
    await resuming;
  }
  const part = asked(chat);
  await chat.addToolApprovalResponse({ id: part.approval.id, approved: true });
  await settled(chat);
  await resumeUntil(chat, seen, () => seen.ended);
  seen.byRun = false;
  await chat.resumeStream();
  return { seen, messages: chat.messages };
}

const told = [];
for (let number = 0; number < chats; number += 1) told.push(await talk(crypto.randomUUID()));
console.log(JSON.stringify(told));
