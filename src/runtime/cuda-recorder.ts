// Records runs on an NVIDIA card and replays them, through native/cuda_graph.c.

import { nativeLibrary } from './native-operators.ts';
import type { OrtApi, Pointer } from './ort-api.ts';
import type { Recorder } from './recordings.ts';

type Async = (...args: unknown[]) => void;

export function cudaRecorder(api: OrtApi): Recorder {
  const library = nativeLibrary();
  const record = library.func(
    'const char* lorikeet_record(void* api, void* session, void* options, void* binding, uint64_t address, ' +
      'void* inputs, size_t bytes, _Out_ void** executable)',
  );
  const replay = library.func(
    'const char* lorikeet_replay(void* executable, uint64_t address, void* inputs, size_t bytes)',
  );
  const forget = library.func('void lorikeet_forget(void* executable)');
  const options = api.call('createRunOptions');
  // While a run is recorded nothing may wait for the card.
  api.call('addRunConfigEntry', options, 'disable_synchronize_execution_providers', '1');
  /** On a thread of libuv's pool; what `args` point to stays until it settles. */
  const call = (run: { readonly async: Async }, ...args: unknown[]) =>
    new Promise<void>((resolve, reject) => {
      run.async(...args, (error: Error | null, wrong: string | null) => {
        if (error || wrong) reject(error ?? new Error(wrong!));
        else resolve();
      });
    });
  return {
    async record({ session, binding, address, inputs }) {
      const recording: [Pointer] = [0n];
      await call(record, api.table, session, options, binding, address, inputs, inputs.length, recording);
      return recording[0];
    },
    replay: (recording, address, inputs) => call(replay, recording, address, inputs, inputs.length),
    forget: (recording) => void forget(recording),
  };
}
