// Reads the header of a GGUF file on this machine.

import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { type GgufFile, parseGguf } from '../formats/gguf.ts';
import { type WeightFile, weightFile } from './weight-file.ts';

/** Bytes of the first read, enough for most headers. Longer headers are read again with longer prefixes. */
const prefixBytesFirst = 4 * 1024 * 1024;

export function readGguf(path: string, file: WeightFile = weightFile(path)): GgufFile {
  for (let bytes = prefixBytesFirst; ; bytes *= 4) {
    const header = parseGguf(file.read(0, Math.min(bytes, limits.ggufHeaderBytes)), file.bytes);
    if (header !== null) return header;
    // parseGguf refuses a header beyond the limit, so that null always means that a longer prefix helps.
    if (bytes >= limits.ggufHeaderBytes)
      throw new LorikeetError('model_file_invalid', { message: `${path}: no header.` });
  }
}
