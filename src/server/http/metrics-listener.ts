// Serves metrics at a separate address without a key, for scrapers that can send none. They contain all tenants' names,
// so it listens only where the operator's settings say so.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Metrics } from '../../metrics/metrics.ts';
import { urlOf } from './address.ts';

export type MetricsListener = { readonly url: string; close(): Promise<void> };

/** Enough for a few scrapers that each ask every second at most. */
const connectionsMax = 64;

export async function listenForMetrics(
  metrics: Pick<Metrics, 'text' | 'contentType'>,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<MetricsListener> {
  const server = createServer({ requestTimeout: 10_000 }, (request, response) => {
    const isScrape = request.url === '/metrics' && ['GET', 'HEAD'].includes(request.method ?? '');
    if (!isScrape) {
      response.writeHead(404).end();
      return;
    }
    metrics.text(null).then(
      (text) => response.writeHead(200, { 'content-type': metrics.contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  });
  server.maxConnections = connectionsMax;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, resolve);
  });
  return {
    url: urlOf(host, (server.address() as AddressInfo).port),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
