// Reads the header of a GGUF file on this machine.

import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { type GgufFile, parseGguf } from '../formats/gguf.ts';
import { parseGrowing } from '../formats/growing-prefix.ts';
import { type WeightFile, weightFile } from './weight-file.ts';

const headerBytes = { first: 4 * 1024 * 1024, most: limits.ggufHeaderBytes };

export function readGguf(path: string, file: WeightFile = weightFile(path)): GgufFile {
  const read = (bytes: number) => file.read(0, bytes);
  const header = parseGrowing(read, (prefix) => parseGguf(prefix, file.bytes), headerBytes);
  if (header === null) throw new LorikeetError('model_file_invalid', { message: `${path} has no header.` });
  return header;
}
