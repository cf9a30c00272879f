// Runs a session once with tensors of its own, after which nothing stays bound.

import type { Binding, Session, Tensor } from './session.ts';

type Tie = Pick<Binding, 'input' | 'output'>;

/** @param bind ties tensors, which are released after the run, whether it succeeds or not */
export async function runOnce(session: Session, bind: (tie: Tie) => void): Promise<void> {
  const binding = session.bind();
  const tied = new Set<Tensor>();
  const keep = (call: 'input' | 'output') => (name: string, tensor: Tensor) => {
    binding[call](name, tensor);
    tied.add(tensor);
  };
  try {
    bind({ input: keep('input'), output: keep('output') });
    await session.run(binding);
  } finally {
    binding.release();
    for (const tensor of tied) tensor.release();
  }
}
