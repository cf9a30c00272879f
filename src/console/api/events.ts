// Server-sent events of an answer. EventSource can send no key, so the body is read here.

import { ApiError, errorOf } from './client.ts';

/** The data of each event until `[DONE]`. Throws ApiError: what an error event says, or that it broke off before. */
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
    // Leaving early closes the connection, which is how the server learns of it.
    await reader.cancel().catch(() => {});
  }
}
