// What an NVIDIA card does beside sessions' runs: records runs and replays them (native/cuda_graph.c), and sends and
// copies rows of pools (native/cuda_send.c).

import { nativeLibrary } from './native-operators.ts';
import type { OrtApi, Pointer } from './ort-api.ts';
import type { Exchange, Recorder } from './recordings.ts';

type Async = (...args: unknown[]) => void;

/** C parameters for an exchange. */
const memory = 'uint64_t address, void* inputs, size_t inputBytes, void* outputs, size_t outputBytes';
const valuesOf = ({ address, inputs, outputs }: Exchange) => [address, inputs, inputs.length, outputs, outputs.length];

export type CudaCard = Recorder & {
  /**
   * Sends half floats [places, elements] to places with room for as many 16-bit numbers each.
   * @param places addresses, which no run may use meanwhile
   */
  send(places: BigUint64Array, data: Float16Array): Promise<void>;
  /** Copies `bytes` bytes from each address to its counterpart, queued behind running work without waiting for it. */
  copy(from: BigUint64Array, to: BigUint64Array, bytes: number): Promise<void>;
};

export function cudaCard(api: OrtApi): CudaCard {
  const library = nativeLibrary();
  const record = library.func(
    'const char* lorikeet_record(void* api, void* session, void* options, void* binding, ' +
      `_Out_ void** executable, ${memory})`,
  );
  const replay = library.func(`const char* lorikeet_replay(void* executable, ${memory})`);
  const send = library.func('const char* lorikeet_send(void* places, size_t count, void* data, size_t elements)');
  const copy = library.func('const char* lorikeet_copy(void* from, void* to, size_t count, size_t bytes)');
  const forget = library.func('void lorikeet_forget(void* executable)');
  const options = api.call('createRunOptions');
  // While a run is recorded, nothing may wait for the card.
  api.call('addRunConfigEntry', options, 'disable_synchronize_execution_providers', '1');
  /** Calls a function on a thread of libuv's pool; memory that `args` point to must stay until it settles. */
  const call = (run: { readonly async: Async }, ...args: unknown[]) =>
    new Promise<void>((resolve, reject) => {
      run.async(...args, (error: Error | null, wrong: string | null) => {
        if (error || wrong) reject(error ?? new Error(wrong!));
        else resolve();
      });
    });
  return {
    async record({ session, binding }, exchange) {
      const recording: [Pointer] = [0n];
      await call(record, api.table, session, options, binding, recording, ...valuesOf(exchange));
      return recording[0];
    },
    replay: (recording, exchange) => call(replay, recording, ...valuesOf(exchange)),
    send: (places, data) => call(send, places, places.length, data, data.length / places.length),
    copy: (from, to, bytes) => call(copy, from, to, from.length, bytes),
    forget: (recording) => void forget(recording),
  };
}
