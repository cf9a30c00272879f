// Events to one reader, with a bound on what a slow reader may leave unread. It knows frames (server-sent events, lines
// of JSON), not what the events say.

import { Readable } from 'node:stream';

export type EventStream = {
  /** The body of the answer. */
  readonly body: Readable;
  /** Fulfils with the first event or heartbeat; rejects if the stream fails before, when a status can still be sent. */
  readonly opened: Promise<void>;
  /** @param json an event, already in JSON: what is constant in it was serialised once. */
  send(json: string, event?: string): void;
  /** Ends as the format does, OpenAI's with `[DONE]`. */
  done(): void;
  /** Ends with an error event and without `[DONE]`, which some clients take for success. */
  fail(error: unknown, json: string): void;
};

/** How an interface writes its events. */
export type StreamFormat = {
  readonly headers: Readonly<Record<string, string>>;
  /** @param event its name, in formats that name events */
  frame(json: string, event?: string): string;
  /** Sent while nothing happens; null where the format has nothing that says nothing. */
  readonly heartbeat: string | null;
  /** The last thing sent; '' sends none. */
  readonly end: string;
};

export const eventStreamHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  // nginx holds a response back until its buffer is full, unless told not to.
  'x-accel-buffering': 'no',
} as const;

const waiting = ': waiting\n\n';
const dataFrame = (json: string) => `data: ${json}\n\n`;

/** Of OpenAI's routes and our own. */
export const openaiEvents: StreamFormat = {
  headers: eventStreamHeaders,
  frame: dataFrame,
  heartbeat: waiting,
  end: 'data: [DONE]\n\n',
};

/** Of Anthropic's messages and OpenAI's responses: each event has a name, and the last one says that it is. */
export const namedEvents: StreamFormat = {
  headers: eventStreamHeaders,
  frame: (json, event = 'error') => `event: ${event}\n${dataFrame(json)}`,
  heartbeat: waiting,
  end: '',
};

/** Of text-generation-inference: the event that has the whole text is the last. */
export const plainEvents: StreamFormat = { headers: eventStreamHeaders, frame: dataFrame, heartbeat: waiting, end: '' };

/** Of Ollama: a line of JSON each; its readers take an empty line for a broken one. */
export const jsonLines: StreamFormat = {
  headers: { 'content-type': 'application/x-ndjson', 'cache-control': 'no-cache', 'x-accel-buffering': 'no' },
  frame: (json) => `${json}\n`,
  heartbeat: null,
  end: '',
};

type Options = {
  /** OpenAI's where it is left out. */
  readonly format?: StreamFormat;
  readonly heartbeatMs: number;
  /** Events that may wait for the reader beyond the socket's buffer; at one more the answer is cut off. */
  readonly eventsMax: number;
  onTooSlow(): void;
};

export function eventStream(options: Options): EventStream {
  const { format = openaiEvents } = options;
  const opened = Promise.withResolvers<void>();
  let isOpen = false;
  /** Choices that end after another one failed have nobody to tell it to. */
  let isOver = false;
  let quiet = true;

  const body = new Readable({
    // Strings go to the socket as they are: no copy to a Buffer, and one write with its chunk header.
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
