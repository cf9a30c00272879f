// Spans of requests, for whoever traces them over several programs. This file is the contract; what it takes to send
// them is loaded only where an operator asks for it.

/** Text, whole or other numbers, yes or no, or a list of texts. Never a prompt or an answer. */
export type SpanValue = string | number | boolean | readonly string[];

export type Span = {
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly endedAt: number;
  /** W3C's header as the caller sent it; null: this is where the trace begins. */
  readonly traceparent: string | null;
  readonly attributes: Readonly<Record<string, SpanValue>>;
  /** A code; null: it went well. */
  readonly error: string | null;
};

export type Tracing = {
  /** Returns at once; spans are sent together, and dropped where they cannot be. */
  span(span: Span): void;
  /** Sends what is left. */
  close(): Promise<void>;
};
