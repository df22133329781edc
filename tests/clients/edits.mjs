// npm `ai`, its first 6, newest 6 and 7: a chat that answers again, edits and stops, over
// DefaultChatTransport as it is. stdin {url, key}, stdout {generation: [{messages, run}, …]}.
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

const { url, key } = await json(process.stdin);
const api = `${url}/run/api/executions`;
const headers = { authorization: `Bearer ${key}` };

function newChat({ AbstractChat, DefaultChatTransport }, seen) {
  class Chat extends AbstractChat {
    constructor(init) {
      super({ ...init, state: new State() });
    }
  }
  const transport = new DefaultChatTransport({
    api,
    headers,
    fetch: async (...given) => {
      const response = await fetch(...given);
      if (!response.ok) throw new Error(await response.clone().text());
      seen.run = response.headers.get("x-workflow-run-id");
      return response;
    },
  });
  const onError = (error) => {
    seen.error = String(error);
  };
  return new Chat({ transport, onError });
}

const text = (message) =>
  message.parts.filter((part) => part.type === "text").map((part) => part.text).join("");

async function talk(ai) {
  const seen = {};
  const chat = newChat(ai, seen);
  const told = [];
  const tell = () => {
    if (seen.error) throw new Error(seen.error);
    const messages = chat.messages.map((message) => [message.role, text(message)]);
    told.push({ run: seen.run, messages, ids: chat.messages.map(({ id }) => id) });
  };
  for (const said of ["one", "two", "three"]) await chat.sendMessage({ text: said });
  tell();
  await chat.regenerate(); // the last answer
  tell();
  await chat.sendMessage({ text: "drei", messageId: chat.messages[4].id }); // the last message
  tell();
  await chat.regenerate({ messageId: chat.messages[3].id }); // an earlier answer
  tell();
  await chat.sendMessage({ text: "more" });
  tell();
  await chat.sendMessage({ text: "un", messageId: chat.messages[0].id }); // the first message
  tell();
  const speaking = chat.sendMessage({ text: "slow" });
  while (seen.run === told.at(-1).run) await new Promise((resolve) => setImmediate(resolve));
  await chat.stop();
  await speaking;
  await chat.sendMessage({ text: "fast", messageId: chat.messages[2].id }); // while it runs
  tell();
  return told;
}

const found = {};
for (const [generation, ai] of Object.entries({ first, six, next })) {
  found[generation] = await talk(ai);
}
console.log(JSON.stringify(found));
