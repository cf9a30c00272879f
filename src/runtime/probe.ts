// Loads ONNX Runtime and says what it is, in a process of its own: a library that crashes takes only the probe along.
// node src/runtime/probe.ts '{"library": path or null, "device": "cpu", "cudaDir": path or null}'
//   -> one line of JSON, `{error}` where the library cannot be loaded or the device is not there.

import { parseDevice } from '../core/device.ts';
import { LorikeetError } from '../core/errors.ts';
import { createOnnxRuntime } from './onnx-runtime.ts';

type Asked = { readonly library: string | null; readonly device: string; readonly cudaDir: string | null };

const print = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);

try {
  const { library, device, cudaDir } = JSON.parse(process.argv[2]!) as Asked;
  const runtime = createOnnxRuntime({ library, threads: 1, spin: false, device: parseDevice(device), cudaDir });
  const { name, providers } = runtime;
  print({ library: runtime.library, name, providers, freeBytes: runtime.device?.freeBytes() ?? null });
} catch (error) {
  if (!(error instanceof LorikeetError)) throw error;
  print({ error: error.message });
}
// A device's driver may have threads that keep the process alive.
process.exit(0);
