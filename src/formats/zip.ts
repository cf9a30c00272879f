// Finds one member of a zip archive (a Python wheel). Reads only the end of the file, and unpacks nothing.

import { LorikeetError } from '../core/errors.ts';

export type ZipMember = {
  /** Offset of the member's local header from the start of the file. */
  readonly offset: number;
  readonly deflated: boolean;
  readonly packedBytes: number;
  readonly bytes: number;
};

/** Bytes of the end record and of the longest comment that may follow it. */
export const zipEndBytesMax = 22 + 65_535;
export const zipLocalHeaderBytes = 30;

/** Finds the central directory. `tail` is the last zipEndBytesMax bytes of the file, or all of it. */
export function findZipDirectory(tail: Uint8Array, fileBytes: number): { start: number; end: number; entries: number } {
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
  for (let at = tail.length - 22; at >= 0; at--) {
    // The comment must reach exactly to the end, so that a comment that looks like an end record is not taken for one.
    if (view.getUint32(at, true) !== 0x06054b50 || at + 22 + view.getUint16(at + 20, true) !== tail.length) continue;
    const entries = view.getUint16(at + 10, true);
    const start = view.getUint32(at + 16, true);
    const end = start + view.getUint32(at + 12, true);
    if (end > fileBytes - tail.length + at) invalid('its directory runs into its end');
    return { start, end, entries };
  }
  return invalid('it has no end record');
}

/** Finds a member in the central directory; null where it has no such member. */
export function findZipMember(directory: Uint8Array, entries: number, name: string): ZipMember | null {
  const view = new DataView(directory.buffer, directory.byteOffset, directory.byteLength);
  let at = 0;
  for (let entry = 0; entry < entries; entry++) {
    if (at + 46 > directory.length || view.getUint32(at, true) !== 0x02014b50) invalid('its directory is damaged');
    const nameEnd = at + 46 + view.getUint16(at + 28, true);
    const entryName = new TextDecoder().decode(directory.subarray(at + 46, nameEnd));
    if (entryName === name) return readEntry(view, at);
    at = nameEnd + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return null;
}

function readEntry(view: DataView, at: number): ZipMember {
  const flags = view.getUint16(at + 8, true);
  const method = view.getUint16(at + 10, true);
  const member = {
    offset: view.getUint32(at + 42, true),
    deflated: method === 8,
    packedBytes: view.getUint32(at + 20, true),
    bytes: view.getUint32(at + 24, true),
  };
  if ((flags & 1) !== 0) invalid('the member is encrypted');
  if (method !== 0 && method !== 8) invalid(`the member is packed by method ${method}`);
  if ([member.offset, member.packedBytes, member.bytes].includes(0xffffffff)) invalid('zip64 is not read');
  return member;
}

/** Finds where the member's data starts. `local` is its local header, whose names and extras may differ in length. */
export function zipDataOffset(local: Uint8Array, member: ZipMember): number {
  const view = new DataView(local.buffer, local.byteOffset, local.byteLength);
  if (local.length < zipLocalHeaderBytes || view.getUint32(0, true) !== 0x04034b50) invalid('the member has no header');
  return member.offset + zipLocalHeaderBytes + view.getUint16(26, true) + view.getUint16(28, true);
}

function invalid(reason: string): never {
  throw new LorikeetError('model_file_invalid', { message: `Invalid zip archive: ${reason}.` });
}
