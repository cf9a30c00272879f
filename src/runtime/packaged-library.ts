// Path of libonnxruntime in the onnxruntime-node package for this platform.

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { LorikeetError } from '../core/errors.ts';

export function packagedLibrary(): string {
  const file = { linux: 'libonnxruntime.so.1', darwin: 'libonnxruntime.1.dylib', win32: 'onnxruntime.dll' };
  const name = file[process.platform as keyof typeof file];
  if (!name) throw new LorikeetError('runtime_unavailable', { message: `No ONNX Runtime for ${process.platform}.` });
  const root = dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'));
  return join(root, 'bin', 'napi-v6', process.platform, process.arch, name);
}
