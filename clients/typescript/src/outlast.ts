/**
 * The client of Outlast's HTTP API for Node, Deno, Bun and browsers, without dependencies.
 *
 * ```ts
 * const outlast = new Outlast({ url: "http://127.0.0.1:8321", key });
 * for await (const frame of outlast.stream("support", "Where is my order?")) {
 *   if (frame.type === "text_delta") process.stdout.write(frame.text);
 * }
 * ```
 *
 * A stream that is cut, also by a server that is killed, is resumed where it was, without gap or
 * repetition. A request that starts something is sent again under its own Idempotency-Key.
 */

import type { components } from "./api.js";
import { framesOf, type Frame } from "./frames.js";

export type { Frame, FrameData } from "./frames.js";
export type { components } from "./api.js";

type Schemas = components["schemas"];
export type Execution = Schemas["Execution"];
export type Approval = Schemas["Approval"];
export type Agent = Schemas["Agent"];
export type Conversation = Schemas["Conversation"];
export type ExecuteBody = Partial<Omit<Schemas["ExecuteBody"], "input" | "stream" | "background">>;

export interface Page<T> {
  data: T[];
  hasMore: boolean;
  nextCursor: string | null;
}

export interface Options {
  url: string;
  key?: string;
  /** Seconds to wait for a server that is away; default 60. */
  patience?: number;
  /** Seconds that an answer may take; default 60. Neither a stream nor a run. */
  timeout?: number;
  /** How often a request that changes nothing is sent again while the server is away; default 2. */
  retries?: number;
  fetch?: typeof globalThis.fetch;
}

export interface CallOptions {
  signal?: AbortSignal;
  idempotencyKey?: string;
  /** Seconds, for this call. */
  timeout?: number;
  /** For this call. */
  retries?: number;
  /** Gets each response of this call as it comes, with its headers; its body is read after that. */
  onResponse?: (response: Response) => void;
}

export interface FollowOptions {
  signal?: AbortSignal;
  /** A cursor: the frames behind it. */
  after?: string;
  /** With the frames of all executions that it calls. */
  children?: boolean;
}

/** The server answered with an error; `code` is the API's, such as `execution_not_found`. */
export class OutlastError extends Error {
  override readonly name: string = "OutlastError";
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly param: string | null,
    readonly requestId: string | null,
  ) {
    super(message);
  }
}

/** The server does not answer. */
export class Unreachable extends OutlastError {
  override readonly name = "Unreachable";
}

type Query = Record<string, string | number | boolean | null | undefined>;
const PASSING = new Set([429, 502, 503, 504]);
const ENDED = new Set(["completed", "failed", "cancelled"]);
const FIRST_WAIT = 100;
const LONGEST_WAIT = 5000;
/** A stream sends at least every 15 seconds; after three times that the server is gone. */
const SILENCE = 45_000;

export class Outlast {
  readonly url: string;
  readonly #key: string | undefined;
  readonly #patience: number;
  readonly #timeout: number;
  readonly #retries: number;
  readonly #fetch: typeof globalThis.fetch;

  constructor(options: Options) {
    this.url = options.url.replace(/\/+$/, "");
    this.#key = options.key;
    this.#patience = (options.patience ?? 60) * 1000;
    this.#timeout = options.timeout ?? 60;
    this.#retries = options.retries ?? 2;
    this.#fetch = options.fetch ?? ((...given) => globalThis.fetch(...given));
  }

  /** Starts an execution and returns at once. */
  async start(agent: string, input: string, more: ExecuteBody = {}, call: CallOptions = {}): Promise<Execution> {
    const headers = { "Idempotency-Key": call.idempotencyKey ?? newKey() };
    const body = { ...more, input, background: true };
    return this.#persist(() => this.#json("POST", `/v1/agents/${part(agent)}/execute`, { ...call, headers, body }), call.signal);
  }

  /** Runs an agent and yields its frames to the last. */
  async *stream(
    agent: string,
    input: string,
    more: ExecuteBody = {},
    call: CallOptions & { children?: boolean } = {},
  ): AsyncGenerator<Frame, void, undefined> {
    const { id } = await this.start(agent, input, more, call);
    yield* this.follow(id, call);
  }

  /** Runs an agent and returns the execution once it has ended. A failed one is returned, not thrown. */
  async execute(agent: string, input: string, more: ExecuteBody = {}, call: CallOptions = {}): Promise<Execution> {
    const { id } = await this.start(agent, input, more, call);
    for await (const frame of this.follow(id, call)) void frame;
    return this.get(id, call);
  }

  /** Yields an execution's frames to the last, from the first or behind `after`; comes back after every cut. */
  async *follow(id: string, options: FollowOptions = {}): AsyncGenerator<Frame, void, undefined> {
    let after = options.after;
    let wait = FIRST_WAIT;
    let away: number | null = null;
    let over = false;
    for (;;) {
      let last: Frame | null = null;
      try {
        for await (last of this.#frames(id, after, options)) {
          wait = FIRST_WAIT;
          away = null;
          after = last.cursor ?? after;
          yield last;
          options.signal?.throwIfAborted();
        }
        if (over || (last !== null && isLast(last, id))) return;
        over = ENDED.has((await this.get(id, options)).status);
      } catch (error) {
        if (!(error instanceof Unreachable)) throw error;
        away ??= Date.now();
        if (Date.now() - away > this.#patience) throw error;
      }
      await sleep(wait, options.signal);
      wait = Math.min(2 * wait, LONGEST_WAIT);
    }
  }

  get(id: string, call: CallOptions = {}): Promise<Execution> {
    return this.#json("GET", `/v1/executions/${part(id)}`, call);
  }

  /** A page of executions, newest first; filters as the API names them. */
  list(filters: Query = {}, call: CallOptions = {}): Promise<Page<Execution>> {
    return this.#json("GET", "/v1/executions", { ...call, query: filters });
  }

  cancel(id: string, call: CallOptions = {}): Promise<Schemas["Cancelled"]> {
    return this.#json("POST", `/v1/executions/${part(id)}/cancel`, call);
  }

  pause(id: string, body: { now?: boolean; reason?: string } = {}, call: CallOptions = {}): Promise<Execution> {
    return this.#json("POST", `/v1/executions/${part(id)}/pause`, { ...call, body });
  }

  /** Continues from the newest checkpoint, or rolls back to the named one. */
  resume(id: string, checkpointId: string | null = null, call: CallOptions = {}): Promise<Execution> {
    return this.#json("POST", `/v1/executions/${part(id)}/resume`, { ...call, body: { checkpointId } });
  }

  approvals(page: Query = {}, call: CallOptions = {}): Promise<Page<Approval>> {
    return this.#json("GET", "/v1/approvals", { ...call, query: page });
  }

  /** Decides a tool call; the first decision wins. */
  decide(
    id: string,
    toolCallId: string,
    decision: { approved: boolean; reason?: string; parameters?: Record<string, unknown>; result?: unknown },
    call: CallOptions = {},
  ): Promise<Approval> {
    const path = `/v1/executions/${part(id)}/approvals/${part(toolCallId)}`;
    return this.#json("POST", path, { ...call, body: decision });
  }

  /** Gives the result of a call that the client runs, or the error in its place. */
  answer(id: string, toolCallId: string, given: { result: unknown } | { error: string }, call: CallOptions = {}): Promise<Schemas["ClientCall"]> {
    const path = `/v1/executions/${part(id)}/client-calls/${part(toolCallId)}`;
    return this.#persist(() => this.#json("POST", path, { ...call, body: given }), call.signal);
  }

  conversation(id: string, call: CallOptions = {}): Promise<Conversation> {
    return this.#json("GET", `/v1/conversations/${part(id)}`, call);
  }

  agents(page: Query = {}, call: CallOptions = {}): Promise<Page<Agent>> {
    return this.#json("GET", "/v1/agents", { ...call, query: page });
  }

  /** A ticket for one execution's stream in place of a key, for an EventSource. */
  streamTicket(id: string, call: CallOptions = {}): Promise<Schemas["StreamTicket"]> {
    return this.#json("POST", `/v1/executions/${part(id)}/stream-ticket`, call);
  }

  /** Yields what a paged method lists, over all pages: `outlast.each((page) => outlast.list(page))`. */
  async *each<T>(page: (query: Query) => Promise<Page<T>>, query: Query = {}): AsyncGenerator<T, void, undefined> {
    let found: Page<T> | null = null;
    do {
      found = await page({ ...query, ...(found ? { after: found.nextCursor } : {}) });
      yield* found.data;
    } while (found.hasMore);
  }

  async *#frames(id: string, after: string | undefined, options: FollowOptions): AsyncGenerator<Frame, void, undefined> {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE);
    const signal = options.signal ? AbortSignal.any([options.signal, silence.signal]) : silence.signal;
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (after !== undefined) headers["Last-Event-ID"] = after;
    const query = options.children ? { children: true } : {};
    try {
      const answer = await this.#send("GET", `/v1/executions/${part(id)}/stream`, { headers, query, signal });
      const alive = new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, out) => {
          clearTimeout(timer);
          timer = setTimeout(() => silence.abort(), SILENCE);
          out.enqueue(chunk);
        },
      });
      if (answer.body !== null) yield* framesOf(answer.body.pipeThrough(alive));
    } catch (error) {
      options.signal?.throwIfAborted();
      if (error instanceof OutlastError && !PASSING.has(error.status)) throw error;
      throw unreachable(this.url, error);
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }

  async #persist<T>(send: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const began = Date.now();
    for (let wait = FIRST_WAIT; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
      try {
        return await send();
      } catch (error) {
        const passing =
          error instanceof OutlastError && (PASSING.has(error.status) || error instanceof Unreachable || error.code === "request_in_progress");
        if (!passing || Date.now() - began > this.#patience) throw error;
      }
      await sleep(wait, signal);
    }
  }

  async #json<T>(method: string, path: string, request: Request): Promise<T> {
    let left = method === "GET" ? (request.retries ?? this.#retries) : 0;
    for (let wait = FIRST_WAIT; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
      try {
        return await this.#answer<T>(method, path, request);
      } catch (error) {
        const passing = error instanceof Unreachable || (error instanceof OutlastError && PASSING.has(error.status));
        if (!passing || left-- <= 0) throw error;
      }
      await sleep(wait, request.signal);
    }
  }

  async #answer<T>(method: string, path: string, request: Request): Promise<T> {
    const late = AbortSignal.timeout((request.timeout ?? this.#timeout) * 1000);
    const signal = request.signal ? AbortSignal.any([request.signal, late]) : late;
    try {
      const answer = await this.#send(method, path, { ...request, signal });
      return (answer.status === 204 ? {} : await answer.json()) as T;
    } catch (error) {
      request.signal?.throwIfAborted();
      throw error instanceof OutlastError ? error : unreachable(this.url, error);
    }
  }

  async #send(method: string, path: string, request: Request): Promise<Response> {
    const url = new URL(this.url + path);
    for (const [name, value] of Object.entries(request.query ?? {}))
      if (value !== null && value !== undefined) url.searchParams.set(name, String(value));
    const headers: Record<string, string> = { ...request.headers };
    if (this.#key !== undefined) headers["Authorization"] = `Bearer ${this.#key}`;
    const sent: RequestInit = { method, headers, signal: request.signal ?? null };
    if (request.body !== undefined) {
      headers["Content-Type"] = "application/json";
      sent.body = JSON.stringify(request.body);
    }
    let answer: Response;
    try {
      answer = await this.#fetch(url, sent);
    } catch (error) {
      throw unreachable(this.url, error);
    }
    request.onResponse?.(answer);
    if (!answer.ok) throw await refused(answer);
    return answer;
  }
}

interface Request extends Omit<CallOptions, "idempotencyKey"> {
  headers?: Record<string, string>;
  query?: Query;
  body?: unknown;
}

async function refused(answer: Response): Promise<OutlastError> {
  const body = (await answer.json().catch(() => null)) as { error?: Record<string, string> } | null;
  const error = body?.error ?? {};
  const message = error["message"] ?? `The server answered ${answer.status}.`;
  const requestId = error["requestId"] ?? answer.headers.get("x-request-id");
  return new OutlastError(answer.status, error["code"] ?? "unknown", message, error["param"] ?? null, requestId);
}

function unreachable(url: string, error: unknown): Unreachable {
  return new Unreachable(0, "unreachable", `${url} does not answer: ${String(error)}`, null, null);
}

/** Whether the frame ends the execution's stream, rather than what one of its children sent. */
function isLast(frame: Frame, id: string): boolean {
  return (frame.type === "done" || frame.type === "error") && (frame.executionId ?? id) === id;
}

/** A key that was never used; `crypto.randomUUID` is missing on pages of plain HTTP. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function part(text: string): string {
  return encodeURIComponent(text);
}

function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
