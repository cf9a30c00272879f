// A trainer without a model: it takes a job's steps with scripted losses, writes checkpoints and a result like the real
// trainer and resumes from them, and can die, fail or hang. The result depends only on the seed.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ErrorCode } from '../../src/core/errors.ts';
import type { StartTrainerProcess } from '../../src/protocol/trainer-process.ts';
import type { TrainerCommand, TrainerEvent, TrainingJob } from '../../src/protocol/training-messages.ts';
import { tinyAdapter } from './tiny-adapters.ts';

export type FakeTrainerOptions = {
  /** Milliseconds between steps; null: it steps only when `step` is called. */
  stepMs?: number | null;
  /** Steps of this life after which it dies without a message; null: it lives on. `lives` counts from 1. */
  dieAfter?: (lives: number) => number | null;
  /** The failure that it reports instead of its first step. */
  failure?: { code: ErrorCode; message: string } | null;
  validLoss?: (step: number) => number;
  /** Whether it ignores pausing and cancelling. */
  isDeaf?: boolean;
};

export type FakeTrainer = {
  readonly start: StartTrainerProcess;
  readonly lives: number;
  /** Number of processes that live now. */
  readonly alive: number;
  readonly jobs: readonly TrainingJob[];
  readonly commands: readonly TrainerCommand[];
  options: FakeTrainerOptions;
  /** Takes one step in every living process. */
  step(): void;
  /** Kills the processes, as SIGKILL from outside would. */
  kill(): void;
};

const stepTokens = 100;

type Life = { step(): void; kill(): void };

export function fakeTrainer(options: FakeTrainerOptions = {}): FakeTrainer {
  const living = new Set<Life>();
  const jobs: TrainingJob[] = [];
  const commands: TrainerCommand[] = [];
  let lives = 0;

  const start: StartTrainerProcess = (handlers) => {
    const { stepMs = 0, failure = null, isDeaf = false } = fake.options;
    const end = fake.options.dieAfter?.(++lives) ?? null;
    if (fake.options.dieAfter === undefined) lives++;
    let job: TrainingJob | null = null;
    // Rows are counted once: a test may end, and its folder go, while a trainer still steps.
    let [done, taken, steps] = [0, 0, 0];
    let timer: NodeJS.Timeout | null = null;
    const isAlive = () => living.has(life);
    const say = (event: TrainerEvent) => isAlive() && handlers.onEvent(event);
    const exit = (reason: string) => {
      if (!living.delete(life)) return;
      if (timer !== null) clearTimeout(timer);
      setImmediate(() => handlers.onExit(reason));
    };
    const again = () => {
      if (stepMs !== null && isAlive()) timer = setTimeout(life.step, stepMs);
    };
    const life: Life = {
      step() {
        if (job === null) return;
        if (failure !== null) {
          say({ type: 'failed', ...failure, step: done });
          return exit('ended with exit code 1');
        }
        if (taken === end) return exit('was ended by SIGSEGV');
        if (done < steps) {
          taken++;
          say({ type: 'step', metrics: metricsOf(job, { step: ++done, steps }, fake.options) });
          const isDue = done % job.hyperparameters.checkpointSteps === 0 && done < steps;
          if (isDue)
            say({ type: 'checkpoint', step: done, validLoss: null, folder: save(job, `checkpoints/${done}`, done) });
          return again();
        }
        const folder = save(job, 'result', 0);
        const bestValidLoss = job.validationFile === null ? null : validLossOf(fake.options, done);
        say({ type: 'finished', step: done, trainedTokens: done * stepTokens, folder, bestValidLoss, isEarly: false });
        exit('ended with exit code 0');
      },
      kill: () => exit('was ended by SIGKILL'),
    };
    living.add(life);
    return {
      pid: 0,
      kill: life.kill,
      send(command) {
        commands.push(command);
        if (!isAlive()) return;
        if (command.type === 'start') {
          job = command.job;
          jobs.push(job);
          done = lastCheckpoint(job);
          const rows = rowsOf(job);
          steps = stepsOf(job, rows);
          const tokens = (steps - done) * stepTokens;
          say({ type: 'started', rows, steps, tokens, rowsCut: 0, parameters: 64, resumedStep: done });
          again();
        } else if (!isDeaf) {
          if (command.type === 'pause' && job !== null) {
            if (done > 0) {
              const folder = save(job, `checkpoints/${done}`, done);
              say({ type: 'checkpoint', step: done, validLoss: null, folder });
            }
            say({ type: 'paused', step: done });
          }
          exit('ended with exit code 0');
        }
      },
    };
  };

  const fake: FakeTrainer = {
    start,
    options,
    jobs,
    commands,
    get lives() {
      return lives;
    },
    get alive() {
      return living.size;
    },
    step() {
      for (const life of [...living]) life.step();
    },
    kill() {
      for (const life of [...living]) life.kill();
    },
  };
  return fake;
}

const rowsOf = ({ trainingFile }: TrainingJob) => readFileSync(trainingFile, 'utf8').trim().split('\n').length;

function stepsOf({ hyperparameters: { maxSteps, epochs, batchRows } }: TrainingJob, rows: number): number {
  return maxSteps ?? epochs! * Math.ceil(rows / (batchRows ?? 8));
}

/** Writes a folder that is there whole or not at all. */
function save(job: TrainingJob, name: string, step: number): string {
  const folder = join(job.folder, name);
  if (existsSync(folder)) return folder;
  const { config, weights } = tinyAdapter(job.hyperparameters.seed * 1000 + step);
  mkdirSync(`${folder}.part`, { recursive: true });
  writeFileSync(join(`${folder}.part`, 'adapter_config.json'), config);
  writeFileSync(join(`${folder}.part`, 'adapter_model.safetensors'), weights);
  renameSync(`${folder}.part`, folder);
  return folder;
}

function lastCheckpoint({ folder }: TrainingJob): number {
  const checkpoints = join(folder, 'checkpoints');
  const steps = existsSync(checkpoints) ? readdirSync(checkpoints).filter((name) => /^\d+$/.test(name)) : [];
  return Math.max(0, ...steps.map(Number));
}

const validLossOf = ({ validLoss = (step) => 2 + 1 / step }: FakeTrainerOptions, step: number) => validLoss(step);

type Steps = { readonly step: number; readonly steps: number };

function metricsOf(job: TrainingJob, { step, steps }: Steps, options: FakeTrainerOptions) {
  const isValidated = job.validationFile !== null && step % job.hyperparameters.evalSteps === 0;
  return {
    ...{ step, steps, epoch: step / steps, trainLoss: 1 + 1 / step },
    validLoss: isValidated ? validLossOf(options, step) : null,
    ...{ learningRate: job.hyperparameters.learningRate, gradNorm: 1 },
    ...{ tokens: stepTokens, tokensPerSecond: 1000, etaSeconds: (steps - step) / 10 },
  };
}
