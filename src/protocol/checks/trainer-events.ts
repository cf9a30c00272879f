// Checks of the trainer's events.

import Type from 'typebox';
import { trainingPrecisions } from '../../core/training-precision.ts';
import type { TrainerEvent } from '../training-messages.ts';
import { count, failure, messageReader, nullable, number } from './check-message.ts';

const step = count;
const folder = Type.String();

const metrics = Type.Object({
  step,
  steps: count,
  epoch: number,
  trainLoss: number,
  validLoss: nullable(number),
  learningRate: number,
  gradNorm: number,
  tokens: count,
  tokensPerSecond: number,
  etaSeconds: number,
});

export const readTrainerEvent = messageReader<TrainerEvent>()({
  started: Type.Object({
    ...{ rows: count, steps: count, tokens: count, rowsCut: count, rowsSkipped: Type.Optional(count) },
    ...{ parameters: count, precision: Type.Optional(Type.Enum(trainingPrecisions)), resumedStep: count },
  }),
  step: Type.Object({ metrics }),
  checkpoint: Type.Object({ step, validLoss: nullable(number), folder }),
  paused: Type.Object({ step }),
  finished: Type.Object({
    ...{ step, trainedTokens: count, folder },
    ...{ bestValidLoss: nullable(number), isEarly: Type.Boolean() },
  }),
  failed: Type.Object({ ...failure, step }),
});
