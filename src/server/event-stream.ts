// Server-sent events to one reader, with a bound on what a slow reader may leave unread.
// It knows the frame (`data: ...`, comments, `[DONE]`), not what the events say.

import { Readable } from 'node:stream';

export type EventStream = {
  /** The body of the answer. */
  readonly body: Readable;
  /** Fulfils with the first event or heartbeat; rejects if the stream fails before, when a status can still be sent. */
  readonly opened: Promise<void>;
  /** @param json an event, already in JSON: what is constant in it was serialised once. */
  send(json: string): void;
  /** Ends with `[DONE]`. */
  done(): void;
  /** Ends with an error event and without `[DONE]`, which some clients take for success. */
  fail(error: unknown, json: string): void;
};

export const eventStreamHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  // nginx holds a response back until its buffer is full, unless told not to.
  'x-accel-buffering': 'no',
} as const;

type Options = {
  readonly heartbeatMs: number;
  /** Events that may wait for the reader beyond the socket's buffer; at one more the answer is cut off. */
  readonly eventsMax: number;
  onTooSlow(): void;
};

export function eventStream(options: Options): EventStream {
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
    if (quiet) write(': waiting\n\n');
    quiet = true;
  }, options.heartbeatMs);

  return {
    body,
    opened: opened.promise,
    send: (json) => write(`data: ${json}\n\n`),
    done() {
      write('data: [DONE]\n\n');
      end();
    },
    fail(error, json) {
      if (isOpen) write(`data: ${json}\n\n`);
      else opened.reject(error);
      end();
    },
  };
}
