// Spans of requests, for tracing over several programs. This file is the contract; the code that sends spans is loaded
// only where an operator asks for it.

/** A text, number, boolean or list of texts. Never a prompt or an answer. */
export type SpanValue = string | number | boolean | readonly string[];

export type Span = {
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly endedAt: number;
  /** W3C's traceparent header of the request; null: the trace begins here. */
  readonly traceparent: string | null;
  readonly attributes: Readonly<Record<string, SpanValue>>;
  /** An error's code; null: success. */
  readonly error: string | null;
};

export type Tracing = {
  /** Adds a span and returns at once. Spans are sent together, and dropped where sending fails. */
  span(span: Span): void;
  /** Sends the rest. */
  close(): Promise<void>;
};
