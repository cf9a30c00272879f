// Records a generation as a span, by OpenTelemetry's conventions for generative AI: how many tokens were read and
// written and by which weights, and never a text.

import type { FastifyRequest } from 'fastify';
import type { HeldAdapters } from '../adapters/held-adapters.ts';
import { toLorikeetError } from '../http/plugins/errors.ts';
import type { Services } from '../services.ts';
import type { Outcome } from './generation.ts';

export function traceGeneration(
  { tracing, model, clock }: Services,
  request: FastifyRequest,
  held: HeldAdapters,
  outcomes: Promise<readonly Outcome[]>,
): void {
  if (tracing === null) return;
  const operation = request.routeOptions.url?.includes('chat') ? 'chat' : 'text_completion';
  const asked = held.adapters.map(({ reference }) => reference).join(', ') || model.name;
  const { traceparent } = request.headers;
  const end = (attributes: Record<string, string | number | string[]>, error: string | null) => {
    const endedAt = clock.now();
    tracing.span({
      name: `${operation} ${asked}`,
      startedAt: endedAt - (clock.monotonic() - request.arrivedAt),
      endedAt,
      traceparent: typeof traceparent === 'string' ? traceparent : null,
      attributes: {
        'gen_ai.operation.name': operation,
        'gen_ai.provider.name': 'lorikeet',
        'gen_ai.request.model': asked,
        'gen_ai.response.model': model.name,
        'lorikeet.tenant': request.tenant,
        'lorikeet.adapter.digests': held.applied.map(({ files }) => files.digest),
        ...attributes,
      },
      error,
    });
  };
  const sum = (all: readonly Outcome[], of: (one: Outcome) => number) => all.reduce((total, one) => total + of(one), 0);
  outcomes.then(
    (all) =>
      end(
        {
          'gen_ai.response.finish_reasons': all.map(({ finishReason }) => finishReason),
          'gen_ai.usage.input_tokens': sum(all, ({ promptTokens }) => promptTokens),
          'gen_ai.usage.output_tokens': sum(all, ({ completionTokens }) => completionTokens),
        },
        null,
      ),
    (error) => {
      const { code } = toLorikeetError(error);
      end({ 'error.type': code }, code);
    },
  );
}
