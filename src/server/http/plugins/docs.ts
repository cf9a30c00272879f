// Serves /openapi.json and /docs, from the schemas that validate the requests. The page's assets come from a package.

import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { nullIsAbsent, type Operation } from '../../schemas/describe.ts';
import { examples } from '../../schemas/examples.ts';
import { takesGzip } from '../takes-gzip.ts';

const info = {
  title: 'Lorikeet',
  description: 'Serves many LoRA adapters over one frozen base model.',
  version: '1',
};

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Completes the route's description with what the validator does not know about its body. */
    describe?: (operation: Operation) => void;
  }
}

type Described = { readonly path: string; readonly method: string; describe(operation: Operation): void };

export function addDocs(app: FastifyInstance): void {
  const described: Described[] = [];
  app.addHook('onRoute', ({ url, method, config }) => {
    const describe = config?.describe;
    if (describe === undefined) return;
    const path = url.replaceAll(/:(\w+)/g, '{$1}');
    for (const one of [method].flat()) described.push({ path, method: one.toLowerCase(), describe });
  });
  app.addHook('onRoute', (route) => {
    // The documentation page's routes come from a package that knows no scopes.
    if (route.prefix === '/docs') route.config = { ...route.config, scope: 'none' };
  });
  app.register(swagger, {
    transformObject(document) {
      const { openapiObject } = document as { openapiObject: { paths: Record<string, Record<string, Operation>> } };
      for (const [path, methods] of Object.entries(openapiObject.paths)) {
        for (const [method, shared] of Object.entries(methods)) {
          // Methods of one route share an object, so each gets a copy.
          const operation = { ...shared };
          methods[method] = operation;
          nullIsAbsent(operation);
          name(operation, method, path);
        }
      }
      for (const { path, method, describe } of described) describe(openapiObject.paths[path]![method]!);
      return openapiObject;
    },
    openapi: {
      openapi: '3.1.0',
      info,
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
      security: [{ key: [] }],
      tags: [
        { name: 'generation', description: 'Text from the base model or an adapter.' },
        { name: 'models', description: 'What can be asked for.' },
        { name: 'adapters', description: 'Upload, versions, aliases. In an address, the `/` of a name is `%2F`.' },
        { name: 'training', description: 'From a file of rows to an adapter.' },
        { name: 'merges', description: 'Adapters merged into copies of the linears that they touch.' },
        { name: 'operator', description: 'Keys, tenants and the audit log; above tenants.' },
        { name: 'operation', description: 'Health and metrics.' },
      ],
    },
  });
  // The package's policy would load the page's assets by https, which a server without TLS does not have.
  const transformStaticCSP = (policy: string) => policy.replace(/upgrade-insecure-requests;?/g, '');
  app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true, transformStaticCSP, indexPrefix: '' });
  app.register(async (scoped) => {
    const description = 'This interface in OpenAPI.';
    const schema = { tags: ['operation'], description, security: [], response: { 200: { type: 'object' } } };
    let document: Promise<Packed> | null = null;
    scoped.get('/openapi.json', { config: { scope: 'none' }, schema }, async ({ headers }, reply) => {
      document ??= pack(app.swagger());
      const { plain, packed } = await document;
      const packs = takesGzip(headers);
      if (packs) reply.header('content-encoding', 'gzip');
      return reply
        .header('vary', 'accept-encoding')
        .type('application/json; charset=utf-8')
        .send(packs ? packed : plain);
    });
  });
}

type Packed = { readonly plain: Buffer; readonly packed: Buffer };

/** Names an operation, for generators of clients, and adds an example body that works as it is. */
function name(operation: Operation, method: string, path: string): void {
  const words = path.split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
  operation.operationId = [method, ...words.map((word) => word[0]!.toUpperCase() + word.slice(1))].join('');
  const example = method === 'post' ? examples[path] : undefined;
  const json = operation.requestBody?.content['application/json'];
  if (example !== undefined && json !== undefined) json.example = example;
}

/** Serialises and compresses the document, which is a twentieth as large then. The console loads it at its start. */
async function pack(document: object): Promise<Packed> {
  const plain = Buffer.from(JSON.stringify(document));
  return { plain, packed: await promisify(gzip)(plain) };
}
