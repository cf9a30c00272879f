// Loads ONNX Runtime and says what it is, in a process of its own: a library that crashes takes only the probe along.
// node src/runtime/probe.ts [path of libonnxruntime] -> one line of JSON, `{error}` where it cannot be loaded.

import { LorikeetError } from '../core/errors.ts';
import { createOnnxRuntime } from './onnx-runtime.ts';
import { packagedLibrary } from './packaged-library.ts';

const print = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);

try {
  const library = process.argv[2] ?? packagedLibrary();
  const { name, providers } = createOnnxRuntime({ library, threads: 1, spin: false });
  print({ library, name, providers });
} catch (error) {
  if (!(error instanceof LorikeetError)) throw error;
  print({ error: error.message });
}
