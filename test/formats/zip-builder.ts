// Writes small zip archives for tests. Checksums are zero, since the reader does not check them: a digest of the
// unpacked file proves more.

import { deflateRawSync } from 'node:zlib';

export type ZipEntry = { name: string; content: Buffer; deflated?: boolean };

export function buildZip(entries: ZipEntry[], comment = Buffer.alloc(0)): Buffer {
  const bodies: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, content, deflated = false } of entries) {
    const packed = deflated ? deflateRawSync(content) : content;
    const nameBytes = Buffer.from(name);
    const common = Buffer.alloc(24);
    common.writeUInt16LE(deflated ? 8 : 0, 4);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(content.length, 18);
    common.writeUInt16LE(nameBytes.length, 22);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, Buffer.alloc(2), nameBytes, packed]);
    const tail = Buffer.alloc(16);
    tail.writeUInt32LE(offset, 12);
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02\0\0'), common, tail, nameBytes]));
    bodies.push(local);
    offset += local.length;
  }
  const directoryBytes = directory.reduce((bytes, entry) => bytes + entry.length, 0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50);
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(directoryBytes, 12);
  end.writeUInt32LE(offset, 16);
  end.writeUInt16LE(comment.length, 20);
  return Buffer.concat([...bodies, ...directory, end, comment]);
}
