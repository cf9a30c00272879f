// Sessions and their bindings. On a device, what lies in JavaScript's memory is sent there before a run, which is what
// binding it does; what has not changed since the last run is there already.

import type { Serially } from '../core/serially.ts';
import { callAside } from './aside.ts';
import { forgetHandle, handleOf, setHandle } from './handles.ts';
import type { OrtApi, Pointer } from './ort-api.ts';
import { type RecordingShelf, Recordings, type TiedTensor } from './recordings.ts';
import type { Binding, Session, Tensor } from './session.ts';
import { dataOf } from './tensors.ts';

type Ownership = {
  /** The library does not own shared weights: the session keeps them, and so their data, alive. */
  readonly weights: ReadonlyMap<string, Tensor>;
  /** Lets go of what else it had. */
  readonly onRelease: () => void;
  /** null where runs may overlap, which is where nothing has to be sent. */
  readonly inTurn: Serially | null;
  /** Where bindings keep recordings; null where none can be made. */
  readonly shelf?: RecordingShelf | null;
};

export function createSession(
  api: OrtApi,
  handle: Pointer,
  { weights, onRelease, inTurn, shelf = null }: Ownership,
): Session {
  const owned = new Map(weights);
  const session: Session = {
    bind: () => createBinding(api, handleOf(session), inTurn, shelf),
    async run(binding, { aside = false, steady = false } = {}) {
      const name = 'runWithBinding';
      const args = [handleOf(session), null, handleOf(binding)];
      const start = () => api.callAsync(name, ...args);
      if (inTurn === null) await (aside ? callAside(api, name, ...args) : start());
      else {
        await inTurn(async () => {
          const tied = sendInputs.get(binding)!;
          if (steady && (await tied.replay(handleOf(session)))) return;
          tied.send();
          await start();
        });
      }
    },
    release() {
      const gone = handleOf(session);
      forgetHandle(session);
      soon(inTurn, () => {
        api.call('releaseSession', gone);
        onRelease();
        owned.clear();
      });
    },
  };
  setHandle(session, handle);
  return session;
}

/** A device's memory is given back between its runs: what another thread computes with is not touched. */
function soon(inTurn: Serially | null, work: () => void): void {
  if (inTurn === null) work();
  else inTurn(async () => work());
}

/** `replay`: whether it was run that way. */
type Tied = { send(): void; replay(session: Pointer): Promise<boolean> };
const sendInputs = new WeakMap<Binding, Tied>();

/** Comparing more than this costs as much as sending it. */
const comparedBytesMax = 2 ** 20;

/** An input in JavaScript's memory, and a copy of what was last sent of it, where that is compared. */
type SentInput = TiedTensor & { isFirst: boolean; last: Buffer | null };

function send(input: SentInput, bind: () => void): void {
  const data = dataOf(input.tensor)!;
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (input.last?.equals(bytes)) return;
  bind();
  // Many bindings run once: only from the second run on is a copy worth its time.
  const { isFirst } = input;
  input.isFirst = false;
  if (isFirst || bytes.length > comparedBytesMax) return;
  input.last ??= Buffer.alloc(bytes.length);
  bytes.copy(input.last);
}

function createBinding(api: OrtApi, session: Pointer, inTurn: Serially | null, shelf: RecordingShelf | null): Binding {
  // The library does not own bound memory: the binding keeps its tensors, and so their data, alive.
  const tensors = new Map<string, Tensor>();
  const sent = new Map<string, SentInput>();
  /** Outputs in JavaScript's memory. */
  const fetched = new Map<string, TiedTensor>();
  const handle = api.call('createIoBinding', session);
  /** Counts what of the device's memory is tied, since a recording holds what was. */
  let version = 0;
  const recordings = shelf && new Recordings(shelf);
  const binding: Binding = {
    input(name, tensor, place) {
      const value = handleOf(tensor);
      // What is tied again keeps its place among them: recordings know runs by all of them in order.
      if (inTurn && dataOf(tensor)) sent.set(name, { tensor, as: place ?? 'input', isFirst: true, last: null });
      else {
        sent.delete(name);
        version++;
        api.call('bindInput', handleOf(binding), name, value);
      }
      tensors.set(`in ${name}`, tensor);
    },
    output(name, tensor) {
      if (inTurn && dataOf(tensor)) fetched.set(name, { tensor, as: 'output' });
      else {
        fetched.delete(name);
        version++;
      }
      api.call('bindOutput', handleOf(binding), name, handleOf(tensor));
      tensors.set(`out ${name}`, tensor);
    },
    release() {
      const gone = handleOf(binding);
      forgetHandle(binding);
      soon(inTurn, () => {
        recordings?.forget();
        api.call('releaseIoBinding', gone);
        tensors.clear();
        sent.clear();
        fetched.clear();
      });
    },
  };
  setHandle(binding, handle);
  sendInputs.set(binding, {
    send() {
      const alive = handleOf(binding);
      for (const [name, input] of sent) {
        send(input, () => api.call('bindInput', alive, name, handleOf(input.tensor)));
      }
      // What is sent may be on another stream than what reads it.
      api.call('synchronizeBoundInputs', alive);
    },
    async replay(session) {
      if (recordings === null) return false;
      const alive = handleOf(binding);
      const tieAgain = () => {
        for (const input of sent.values()) input.last = null;
        for (const [name, { tensor }] of fetched) api.call('bindOutput', alive, name, handleOf(tensor));
      };
      const tied = new Map<string, TiedTensor>([...sent, ...fetched]);
      return recordings.run({ session, binding: alive, version }, tied, tieAgain);
    },
  });
  return binding;
}
