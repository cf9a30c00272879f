// The HTTP application: plugins, then routes. It opens no port and starts no process; main.ts does both.

import Fastify, { type FastifyInstance, LogController } from 'fastify';
import type { AppDeps } from './deps.ts';
import { withEscapedNames } from './http/plain-names.ts';
import { addAudit } from './http/plugins/audit.ts';
import { addAuth } from './http/plugins/auth.ts';
import { addBodies } from './http/plugins/bodies.ts';
import { addConnections } from './http/plugins/connections.ts';
import { addCors } from './http/plugins/cors.ts';
import { addDocs } from './http/plugins/docs.ts';
import { addErrors, answerError, onClientError } from './http/plugins/errors.ts';
import { addHeaders } from './http/plugins/headers.ts';
import { addIdempotency } from './http/plugins/idempotency.ts';
import { addLines } from './http/plugins/lines.ts';
import { addQuotas } from './http/plugins/quotas.ts';
import { addRequests, requestIds } from './http/plugins/requests.ts';
import { addSlowReaders } from './http/plugins/slow-readers.ts';
import { addStaleness } from './http/plugins/staleness.ts';
import { validationError } from './http/validation-error.ts';
import { consoleRoute } from './routes/console.ts';
import { healthRoute } from './routes/health.ts';
import { metricsRoute } from './routes/metrics.ts';
import { ollamaRoute } from './routes/ollama.ts';
import { tgiRoute } from './routes/tgi.ts';
import { tokenizeRoute } from './routes/tokenize.ts';
import { adapterRoute } from './routes/v1/adapters/adapter.ts';
import { aliasesRoute } from './routes/v1/adapters/aliases.ts';
import { analysisRoute } from './routes/v1/adapters/analysis.ts';
import { mergedRoute } from './routes/v1/adapters/merged.ts';
import { uploadsRoute } from './routes/v1/adapters/uploads.ts';
import { versionsRoute } from './routes/v1/adapters/versions.ts';
import { adaptersRoute } from './routes/v1/adapters.ts';
import { mergeRoute } from './routes/v1/admin/adapters/merge.ts';
import { auditRoute } from './routes/v1/admin/audit.ts';
import { contentsRoute } from './routes/v1/admin/contents.ts';
import { keysRoute } from './routes/v1/admin/keys.ts';
import { mergesRoute } from './routes/v1/admin/merges.ts';
import { replicasRoute } from './routes/v1/admin/replicas.ts';
import { settingsRoute } from './routes/v1/admin/settings.ts';
import { tenantsRoute } from './routes/v1/admin/tenants.ts';
import { batchesRoute } from './routes/v1/batches.ts';
import { chatCompletionsRoute } from './routes/v1/chat/completions.ts';
import { completionsRoute } from './routes/v1/completions.ts';
import { embeddingsRoute } from './routes/v1/embeddings.ts';
import { filesRoute } from './routes/v1/files.ts';
import { jobEventsRoute } from './routes/v1/fine-tuning/jobs/events.ts';
import { jobRoute } from './routes/v1/fine-tuning/jobs/job.ts';
import { jobsRoute } from './routes/v1/fine-tuning/jobs.ts';
import { generateRoute } from './routes/v1/generate.ts';
import { loadLoraAdapterRoute } from './routes/v1/load-lora-adapter.ts';
import { messagesRoute } from './routes/v1/messages.ts';
import { modelsRoute } from './routes/v1/models.ts';
import { responsesRoute } from './routes/v1/responses.ts';
import { unloadLoraAdapterRoute } from './routes/v1/unload-lora-adapter.ts';
import { usageRoute } from './routes/v1/usage.ts';
import { versionRoute } from './routes/version.ts';
import { createServices, type Services } from './services.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Ends readiness, and closes each connection after its answer; requests are still taken. To be called before
     * `close`.
     */
    drain(): void;
  }
}

const routes = [
  ...[generateRoute, completionsRoute, chatCompletionsRoute, modelsRoute],
  ...[embeddingsRoute, responsesRoute, messagesRoute, tgiRoute, ollamaRoute, tokenizeRoute, versionRoute],
  ...[adaptersRoute, adapterRoute, versionsRoute, aliasesRoute, uploadsRoute],
  ...[mergedRoute, analysisRoute],
  ...[loadLoraAdapterRoute, unloadLoraAdapterRoute],
  ...[mergeRoute, mergesRoute, settingsRoute],
  ...[keysRoute, tenantsRoute, auditRoute, contentsRoute, replicasRoute],
  ...[filesRoute, jobsRoute, jobRoute, jobEventsRoute],
  ...[batchesRoute, usageRoute],
  ...[healthRoute, metricsRoute, consoleRoute],
];

export function createApp(deps: AppDeps): FastifyInstance {
  const services = createServices(deps);
  const { limits } = services;
  const app = Fastify({
    loggerInstance: deps.logger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: requestIds(deps.newId, limits),
    ...(deps.trustedProxies.length > 0 ? { trustProxy: [...deps.trustedProxies] } : {}),
    bodyLimit: limits.bodyBytes,
    rewriteUrl: ({ url = '/' }) => withEscapedNames(url),
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    // Time until a connection closes on which nothing moves in either direction, such as that of a reader who takes
    // nothing.
    connectionTimeout: limits.socketIdleMs,
    http: {
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersTimeoutMs,
      connectionsCheckingInterval: Math.min(limits.headersTimeoutMs, limits.requestTimeoutMs) / 4,
    },
    routerOptions: { maxParamLength: limits.adapterReferenceChars * 3 },
    // A closing server still answers requests on open connections; the engine refuses new work by then.
    return503OnClosing: false,
    // A body is never changed: nothing is filled in, converted or dropped. `verbose` adds the broken schema to an
    // error.
    ajv: { customOptions: { coerceTypes: false, useDefaults: false, removeAdditional: false, verbose: true } },
    schemaErrorFormatter: validationError,
    clientErrorHandler: onClientError(services),
    frameworkErrors: (error, request, reply) => answerError(services, error, request, reply),
  });
  // Response schemas describe answers and do not filter them: a filter would hide a wrong answer that a test should
  // find.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));

  addErrors(app, services);
  addRequests(app, services);
  addSlowReaders(app, services);
  addCors(app, services);
  addBodies(app, services);
  if (deps.hasDocs) addDocs(app);
  addLines(app, services);
  addAuth(app, services);
  addQuotas(app, services);
  addConnections(app, services);
  addAudit(app, services);
  addIdempotency(app, services);
  addHeaders(app);
  addStaleness(app, services);

  for (const route of routes) app.register(route(services));
  measureEngine(services);
  measureMerges(services);
  app.decorate('drain', () => {
    services.draining = true;
  });
  return app;
}

function measureEngine({ metrics, engine, jobs, clock }: Services): void {
  metrics.readEngine(() => ({
    ...{ ...engine.stats, restarts: engine.restarts, ready: engine.state === 'ready' },
    kv: engine.info?.kv ?? null,
    devices: engine.engines.map(({ name, state, restarts, stats }) => ({
      ...{ device: name, ready: state === 'ready', restarts },
      ...stats,
    })),
  }));
  metrics.readAdapters(() => ({
    ...engine.stats.adapters,
    adaptersMax: engine.info?.maxSequences ?? 0,
    nowSeconds: clock.now() / 1000,
  }));
  metrics.readTraining(() => jobs.stats);
  engine.onStep(({ stepMs, stepTokens, adapters }, loads) => {
    metrics.stepTaken(stepMs, stepTokens);
    metrics.adapterBytesCopied(adapters.copiedBytes);
    for (const load of loads) metrics.adapterLoaded(load);
  });
}

function measureMerges({ metrics, merges }: Services): void {
  metrics.readMerges(() => ({
    states: merges.list().map(({ state }) => state),
    usedBytes: merges.usedBytes,
    budgetBytes: merges.budgetBytes,
  }));
  merges.listen({ merged: ({ figures }) => metrics.mergeMade(figures?.ms ?? 0) });
}
