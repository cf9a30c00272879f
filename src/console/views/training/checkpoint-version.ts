// Promotes a checkpoint. It is an adapter under a name of its own, so its files are published again under the job's
// name: the same bytes, and so the same digest.

import { open, part } from '../../api/client.ts';
import type { Adapter } from '../../api/types.ts';
import { upload } from '../../api/upload.ts';

export async function publishAs(name: string, checkpoint: string): Promise<Adapter> {
  const [from = '', version = '1'] = checkpoint.split('@');
  const answer = await open(`/v1/adapters/${part(from)}/versions/${version}/content`);
  const form = new FormData();
  form.append('name', name);
  for (const [file, bytes] of untar(await answer.arrayBuffer())) form.append(file, new Blob([bytes]), file);
  return await upload<Adapter>('/v1/adapters', form, new AbortController().signal, () => {});
}

const block = 512;

/**
 * Yields the files of an uncompressed tar: a header of 512 bytes with name and size, then the content, padded to
 * blocks.
 */
function* untar(archive: ArrayBuffer): Generator<[string, Uint8Array<ArrayBuffer>]> {
  const text = (start: number, length: number) =>
    new TextDecoder().decode(new Uint8Array(archive, start, length)).replace(/\0.*$/s, '');
  for (let at = 0; at + block <= archive.byteLength; ) {
    const name = text(at, 100);
    if (name === '') return;
    const size = Number.parseInt(text(at + 124, 12).trim(), 8);
    const isFile = ['', '0'].includes(text(at + 156, 1));
    if (isFile) yield [name.split('/').at(-1)!, new Uint8Array(archive, at + block, size)];
    at += block + Math.ceil(size / block) * block;
  }
}
