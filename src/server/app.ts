// The HTTP application: plugins, then routes. It opens no port and starts no process; main.ts does.

import Fastify, { type FastifyInstance, LogController } from 'fastify';
import type { AppDeps } from './deps.ts';
import { addAuth } from './plugins/auth.ts';
import { addBodies } from './plugins/bodies.ts';
import { addDocs } from './plugins/docs.ts';
import { addErrors, answerError, onClientError } from './plugins/errors.ts';
import { addRequests, requestIds } from './plugins/requests.ts';
import { healthRoute } from './routes/health.ts';
import { metricsRoute } from './routes/metrics.ts';
import { chatCompletionsRoute } from './routes/v1/chat/completions.ts';
import { completionsRoute } from './routes/v1/completions.ts';
import { generateRoute } from './routes/v1/generate.ts';
import { modelsRoute } from './routes/v1/models.ts';
import { createServices } from './services.ts';
import { validationError } from './validation-error.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** Readiness ends and connections close after their answer; requests are still taken. Before `close`. */
    drain(): void;
  }
}

export function createApp(deps: AppDeps): FastifyInstance {
  const services = createServices(deps);
  const { limits, metrics, engine } = services;
  const app = Fastify({
    loggerInstance: deps.logger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: requestIds(deps.newId, limits),
    bodyLimit: limits.bodyBytes,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    http: {
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersTimeoutMs,
      connectionsCheckingInterval: Math.min(limits.headersTimeoutMs, limits.requestTimeoutMs) / 4,
    },
    routerOptions: { maxParamLength: 256 },
    // While it closes, the server goes on answering what arrives on open connections; the engine refuses new work.
    return503OnClosing: false,
    // Nothing is filled in, converted or dropped behind the caller's back; verbose errors carry the broken schema.
    ajv: { customOptions: { coerceTypes: false, useDefaults: false, removeAdditional: false, verbose: true } },
    schemaErrorFormatter: validationError,
    clientErrorHandler: onClientError(metrics, deps.newId),
    frameworkErrors: (error, request, reply) => answerError(services, error, request, reply),
  });
  // Response schemas describe; they do not filter, which would hide a wrong answer instead of failing a test.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));

  addErrors(app, services);
  addRequests(app, services);
  addBodies(app);
  addDocs(app);
  addAuth(app, services);

  for (const route of [generateRoute, completionsRoute, chatCompletionsRoute, modelsRoute, healthRoute, metricsRoute]) {
    app.register(route(services));
  }

  metrics.readEngine(() => ({ ...engine.stats, restarts: engine.restarts, ready: engine.state === 'ready' }));
  engine.onStep(({ stepMs }) => metrics.stepTaken(stepMs));
  app.decorate('drain', () => {
    services.draining = true;
  });
  return app;
}
