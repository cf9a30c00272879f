// Unpacks one member of a zip file to a file, holding neither in memory.

import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { PassThrough, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createInflateRaw } from 'node:zlib';
import { findZipDirectory, findZipMember, zipDataOffset, zipEndBytesMax, zipLocalHeaderBytes } from '../formats/zip.ts';
import { unavailable } from './unavailable.ts';
import { type WeightFile, weightFile } from './weight-file.ts';

/**
 * Writes the member to `target`, flushed, and returns its SHA-256. Stops at `bytesMax` whatever the archive's header
 * says, so that a small archive cannot fill the disk.
 */
export async function unzipMember(
  archivePath: string,
  name: string,
  target: string,
  bytesMax: number,
  onBytes: (written: number) => void,
): Promise<string> {
  const archive = weightFile(archivePath);
  const member = findMember(archive, name);
  const local = archive.read(member.offset, member.offset + zipLocalHeaderBytes);
  const start = zipDataOffset(local, member);
  if (member.packedBytes > archive.bytes - start) unavailable(`${name} runs past the end of ${archivePath}`);
  const hash = createHash('sha256');
  let written = 0;
  const measure = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      written += chunk.length;
      hash.update(chunk);
      onBytes(written);
      done(written > bytesMax ? new Error(`${name} has more than ${bytesMax} bytes`) : null, chunk);
    },
  });
  await pipeline(
    createReadStream(archivePath, { start, end: start + member.packedBytes - 1, highWaterMark: 256 * 1024 }),
    member.deflated ? createInflateRaw({ chunkSize: 256 * 1024 }) : new PassThrough(),
    measure,
    createWriteStream(target, { flush: true }),
  );
  return hash.digest('hex');
}

function findMember(archive: WeightFile, name: string) {
  const tail = archive.read(Math.max(0, archive.bytes - zipEndBytesMax), archive.bytes);
  const directory = findZipDirectory(tail, archive.bytes);
  const member = findZipMember(archive.read(directory.start, directory.end), directory.entries, name);
  return member ?? unavailable(`${archive.path} has no member ${name}`);
}
