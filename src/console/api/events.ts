// Reads server-sent events from an answer's body. EventSource is no use here, since it can send no key.

import { ApiError, errorOf } from './client.ts';

/** Yields the data of each event until `[DONE]`. Throws ApiError for an error event, or where the answer broke off. */
export async function* eventsOf<T>(response: Response): AsyncGenerator<T> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new ApiError(0, 'network', 'The answer broke off.');
      const frames = (rest + value).split('\n\n');
      rest = frames.pop()!;
      for (const frame of frames) {
        if (!frame.startsWith('data: ')) continue;
        const data = frame.slice('data: '.length);
        if (data === '[DONE]') return;
        if (data.startsWith('{"error"')) throw errorOf(500, data);
        yield JSON.parse(data) as T;
      }
    }
  } finally {
    // Cancelling closes the connection, by which the server learns that the reader has left.
    await reader.cancel().catch(() => {});
  }
}
