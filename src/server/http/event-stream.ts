// Sends events to one reader, with a bound on what a slow reader may leave unread. It knows the framing (server-sent
// events, lines of JSON), and not what the events mean.

import { Readable } from 'node:stream';

export type EventStream = {
  /** The body of the answer. */
  readonly body: Readable;
  /**
   * Resolves at the first event or heartbeat; rejects if the stream fails before that, while a status can still be
   * sent.
   */
  readonly opened: Promise<void>;
  /**
   * Sends an event.
   * @param json the event, already serialised, so that its constant part is serialised only once
   */
  send(json: string, event?: string): void;
  /** Ends the stream with the format's own end, which is `[DONE]` for OpenAI. */
  done(): void;
  /** Ends the stream with an error event and without `[DONE]`, which some clients take for success. */
  fail(error: unknown, json: string): void;
};

/** How an interface frames its events. */
export type StreamFormat = {
  readonly headers: Readonly<Record<string, string>>;
  /**
   * Frames one event.
   * @param event its name, for formats that name events
   */
  frame(json: string, event?: string): string;
  /** Text that is sent while there are no events; null: the format has none. */
  readonly heartbeat: string | null;
  /** Text that ends the stream; may be empty. */
  readonly end: string;
};

export const eventStreamHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  // nginx buffers an answer unless this header tells it not to.
  'x-accel-buffering': 'no',
} as const;

const waiting = ': waiting\n\n';
const dataFrame = (json: string) => `data: ${json}\n\n`;

/** Format of OpenAI's routes and of this server's own. */
export const openaiEvents: StreamFormat = {
  headers: eventStreamHeaders,
  frame: dataFrame,
  heartbeat: waiting,
  end: 'data: [DONE]\n\n',
};

/**
 * Format of Anthropic's messages and OpenAI's responses, whose events have names; the last event's name ends the
 * stream.
 */
export const namedEvents: StreamFormat = {
  headers: eventStreamHeaders,
  frame: (json, event = 'error') => `event: ${event}\n${dataFrame(json)}`,
  heartbeat: waiting,
  end: '',
};

/** Format of text-generation-inference: the event that has the whole text is the last one. */
export const plainEvents: StreamFormat = { headers: eventStreamHeaders, frame: dataFrame, heartbeat: waiting, end: '' };

/** Format of Ollama: lines of JSON. It has no heartbeat, since its readers fail at an empty line. */
export const jsonLines: StreamFormat = {
  headers: { 'content-type': 'application/x-ndjson', 'cache-control': 'no-cache', 'x-accel-buffering': 'no' },
  frame: (json) => `${json}\n`,
  heartbeat: null,
  end: '',
};

type Options = {
  /** OpenAI's if left out. */
  readonly format?: StreamFormat;
  readonly heartbeatMs: number;
  /** Most events that may wait for the reader beyond the socket's buffer; one more cuts the answer off. */
  readonly eventsMax: number;
  onTooSlow(): void;
};

export function eventStream(options: Options): EventStream {
  const { format = openaiEvents } = options;
  const opened = Promise.withResolvers<void>();
  let isOpen = false;
  /** Set at the end. Other choices of a failed request may still send events, which are dropped. */
  let isOver = false;
  let quiet = true;

  const body = new Readable({
    // Object mode passes strings on as they are: no copy to a Buffer, and one write together with the chunk's header.
    objectMode: true,
    highWaterMark: options.eventsMax,
    read() {},
    destroy(error, callback) {
      clearInterval(heartbeat);
      callback(error);
    },
  });

  const write = (frame: string) => {
    quiet = false;
    isOpen = true;
    opened.resolve();
    if (isOver || body.destroyed) return;
    if (body.readableLength < options.eventsMax) {
      body.push(frame);
      return;
    }
    options.onTooSlow();
    body.destroy(new Error('The reader is too slow.'));
  };
  const end = () => {
    clearInterval(heartbeat);
    if (!body.destroyed && !isOver) body.push(null);
    isOver = true;
  };
  const heartbeat = setInterval(() => {
    if (quiet && format.heartbeat !== null) write(format.heartbeat);
    quiet = true;
  }, options.heartbeatMs);

  return {
    body,
    opened: opened.promise,
    send: (json, event) => write(format.frame(json, event)),
    done() {
      if (format.end !== '') write(format.end);
      end();
    },
    fail(error, json) {
      if (isOpen) write(format.frame(json));
      else opened.reject(error);
      end();
    },
  };
}
