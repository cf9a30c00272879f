// Uploads a form. fetch reports no progress of an upload, so this uses XMLHttpRequest.

import { errorOf, keyHeader, unreachable } from './client.ts';

/**
 * Sends the form and gives the answer's JSON. Throws ApiError.
 * @param onProgress share of the bytes that are sent, 0 to 1
 */
export function upload<T>(
  path: string,
  form: FormData,
  signal: AbortSignal,
  onProgress: (share: number) => void,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const request = new XMLHttpRequest();
  request.open('POST', path);
  for (const [name, value] of Object.entries(keyHeader())) request.setRequestHeader(name, value);
  request.upload.onprogress = ({ loaded, total }) => onProgress(total === 0 ? 0 : loaded / total);
  request.onload = () => {
    if (request.status < 300) resolve(JSON.parse(request.responseText) as T);
    else reject(errorOf(request.status, request.responseText));
  };
  request.onerror = () => reject(unreachable());
  request.onabort = () => reject(signal.reason);
  signal.addEventListener('abort', () => request.abort(), { once: true });
  request.send(form);
  return promise;
}
