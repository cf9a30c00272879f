// Sessions and their bindings. On a device, tensors in JavaScript's memory are sent before a run, which binding them
// does. A tensor that has not changed since the last run is not sent again.

import type { Serially } from '../core/serially.ts';
import { callAside } from './aside.ts';
import { forgetHandle, handleOf, setHandle } from './handles.ts';
import type { OrtApi, Pointer } from './ort-api.ts';
import { type RecordingShelf, Recordings, type TiedTensor } from './recordings.ts';
import type { Binding, Session, Tensor } from './session.ts';
import { dataOf } from './tensors.ts';

type Ownership = {
  /** Weights that the session keeps alive, since the library does not own them. */
  readonly weights: ReadonlyMap<string, Tensor>;
  /** Releases what else belonged to the session. */
  readonly onRelease: () => void;
  /** Orders runs; null where they may overlap, and then nothing has to be sent. */
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

/** Releases a device's memory between its runs, while no other thread computes with it. */
function soon(inTurn: Serially | null, work: () => void): void {
  if (inTurn === null) work();
  else inTurn(async () => work());
}

/** `replay` gives whether the run was replayed or recorded. */
type Tied = { send(): void; replay(session: Pointer): Promise<boolean> };
const sendInputs = new WeakMap<Binding, Tied>();

/** Most bytes of an input that are compared: comparing more costs as much as sending it. */
const comparedBytesMax = 2 ** 20;

/** An input in JavaScript's memory, and a copy of its last sent contents where these are compared. */
type SentInput = TiedTensor & { isFirst: boolean; last: Buffer | null };

function send(input: SentInput, bind: () => void): void {
  const data = dataOf(input.tensor)!;
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (input.last?.equals(bytes)) return;
  bind();
  // Many bindings run only once, so a copy is made from the second run on.
  const { isFirst } = input;
  input.isFirst = false;
  if (isFirst || bytes.length > comparedBytesMax) return;
  input.last ??= Buffer.alloc(bytes.length);
  bytes.copy(input.last);
}

function createBinding(api: OrtApi, session: Pointer, inTurn: Serially | null, shelf: RecordingShelf | null): Binding {
  // The binding keeps tensors and so their data alive, since the library does not own bound memory.
  const tensors = new Map<string, Tensor>();
  const sent = new Map<string, SentInput>();
  /** Outputs in JavaScript's memory. */
  const fetched = new Map<string, TiedTensor>();
  const handle = api.call('createIoBinding', session);
  /** Counts bindings of device memory, since a recording holds the memory that was bound. */
  let version = 0;
  const recordings = shelf && new Recordings(shelf);
  const binding: Binding = {
    input(name, tensor, place) {
      const value = handleOf(tensor);
      // A tensor that is tied again keeps its place in the order, by which recordings identify runs.
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
      // Inputs may be sent on another stream than the one that reads them.
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
