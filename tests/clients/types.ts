// What must compile, and what must not, with the TypeScript client.
import { Outlast, OutlastError, type Execution, type Frame } from "outlast";

const outlast = new Outlast({ url: "http://127.0.0.1:8321", key: "sk_1" });

export async function run(): Promise<string> {
  let said = "";
  for await (const frame of outlast.stream("support", "Hi", { metadata: { order: "1" }, user: "ann" })) {
    switch (frame.type) {
      case "text_delta":
        said += frame.text;
        break;
      case "done":
        return frame.execution.output ?? said;
      case "error":
        throw new Error(`${frame.code}: ${frame.message}`);
    }
  }
  return said;
}

export async function failed(): Promise<string[]> {
  const ids: string[] = [];
  for await (const one of outlast.each<Execution>((page) => outlast.list({ ...page, status: "failed" }))) ids.push(one.id);
  return ids;
}

export function status(error: unknown): number {
  return error instanceof OutlastError ? error.status : 0;
}

export function wrong(frame: Frame): void {
  // @ts-expect-error only some frames have a text
  frame.text;
  // @ts-expect-error not a field of the body
  outlast.stream("support", "Hi", { colour: "red" });
  // @ts-expect-error a decision says whether it approves
  outlast.decide("exec_1", "tc_1", { reason: "no" });
  // @ts-expect-error there is no such frame
  if (frame.type === "text") return;
}

type Known = Frame["type"];
export const KNOWN: Record<Known, true> = {
  FRAMES
};
