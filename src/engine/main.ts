// The engine's process: loads a model, then runs steps as long as there is work. Commands are taken between steps. An
// error is told to the supervisor and ends the process, which holds nothing that a fresh one would lack.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { systemClock, systemTimers } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { sleeper } from '../core/sleeper.ts';
import { channelToParent } from '../protocol/child-process.ts';
import type { EngineCommand, EngineConfig, EngineEvent } from '../protocol/messages.ts';
import type { Engine } from './loop/engine.ts';
import { startEngine } from './start-engine.ts';

const channel = channelToParent<EngineCommand, EngineEvent>('engine');
let engine: Engine | null = null;
/** True while a step runs. */
let isStepping = false;
/** Wakes the loop when there may be work: a command came, or an adapter arrived. */
const { sleep, wake } = sleeper(systemTimers);

channel.onCommand((command) => {
  if (command.type === 'start') serve(command.config).catch(fail);
  else if (command.type === 'stop') process.exit(0);
  else take(command);
});

function take(command: Exclude<EngineCommand, { type: 'start' | 'stop' }>): void {
  if (command.type === 'ping') {
    if (engine && !isStepping) channel.send({ type: 'alive' });
    return;
  }
  if (command.type === 'submit') engine?.add(command.sequence);
  else if (command.type === 'abort') engine?.abort(command.id);
  else if (command.type === 'release') engine?.release(command.id);
  else if (command.type === 'merge') engine?.merge(command.merge);
  else if (command.type === 'room') engine?.leaveRoom(command.share);
  else engine?.unmerge(command.key);
  wake();
}

async function serve(config: EngineConfig): Promise<never> {
  const started = await startEngine(config, systemClock, { emit: (event) => channel.send(event), onChange: wake });
  engine = started.engine;
  channel.send({ type: 'ready', info: started.info });
  for (;;) {
    if (engine.idle) engine.checkIntegrity();
    await sleep(engine.busy ? engine.pauseMs : null);
    isStepping = true;
    await engine.step();
    isStepping = false;
    // Messages that arrived during the step are read before the next one.
    await nextTurn();
  }
}

function fail(error: Error): void {
  const code = error instanceof LorikeetError ? error.code : 'engine_failed';
  if (code === 'engine_failed') console.error(error);
  channel.sendLast({ type: 'failed', code, message: error.message }, 1);
}
