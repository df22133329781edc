/** Frames of a stream, by `type`; what each means: docs/http.md, "Streams". */

import type { components } from "./api.js";

type Execution = components["schemas"]["Execution"];
type Image = components["schemas"]["Image"];
type Usage = components["schemas"]["Usage"];

/** In a stream with the frames of called agents: whose frame it is. */
interface Woven {
  executionId?: string;
}

export type FrameData = Woven &
  (
    | { type: "start"; executionId: string; conversationId: string }
    | { type: "text_delta"; text: string }
    | { type: "thinking"; text: string }
    | { type: "tool_call_start"; id: string; name: string; parameters: Record<string, unknown> }
    | { type: "tool_call_end"; id: string; name: string; result: unknown; isError: boolean; images?: Image[] }
    | { type: "child_started"; toolCallId: string; agent: string; childId?: string }
    | { type: "child_finished"; toolCallId: string; status: string; childId?: string }
    | {
        type: "approval_requested";
        toolCallId: string;
        name: string;
        parameters: Record<string, unknown>;
        kind: "approval" | "unknown_outcome";
      }
    | {
        type: "approval_resolved";
        toolCallId: string;
        approved: boolean;
        reason: string | null;
        parameters?: Record<string, unknown>;
        decidedBy: string | null;
      }
    | {
        type: "client_call_requested";
        toolCallId: string;
        name: string;
        parameters: Record<string, unknown>;
      }
    /** The call waits for input of a person; `client_call_answered` follows. */
    | {
        type: "input_requested";
        toolCallId: string;
        name: string;
        parameters: Record<string, unknown>;
        questions: Record<string, unknown>[];
      }
    | {
        type: "client_call_answered";
        toolCallId: string;
        isError: boolean;
        reason: string | null;
        decidedBy: string | null;
      }
    /** The step runs again: the text since the last frame that was neither text nor thinking is void. */
    | { type: "retry"; step: number }
    | { type: "custom"; name: string; data: unknown }
    | { type: "paused"; reason: string | null }
    /** It continues from a checkpoint: the frames between `behind` and this one are void. */
    | { type: "resumed"; checkpointId: string; step: number; behind: string }
    | { type: "done"; usage: Usage; execution: Execution }
    | { type: "error"; message: string; code: string; execution: Execution }
  );

/** A frame and the cursor behind it, from which a stream can be resumed. */
export type Frame = FrameData & { cursor: string | null };

/** Makes frames of server-sent events (WHATWG HTML standard); an incomplete one is dropped. */
export async function* framesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Frame, void, undefined> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  let cursor: string | null = null;
  let data: string[] = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const raw of lines) {
        const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
        if (line === "" && data.length > 0) {
          yield { ...(JSON.parse(data.join("\n")) as FrameData), cursor };
          data = [];
        } else if (line.startsWith("id:")) {
          cursor = line.slice(3).trim();
        } else if (line.startsWith("data:")) {
          data.push(line.slice(5).replace(/^ /, ""));
        }
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
