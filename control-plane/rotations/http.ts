import { z } from 'zod';
import { RotateSecret, RotateServer, SecretRotation, ServerRotation } from '../../contract/secret.ts';
import { accepted, route, type SliceRoutes } from '../http/route.ts';
import { runRoutes } from './runs/http.ts';
import { startRotateServer } from './servers/start.ts';
import { startRotateSecret } from './start.ts';

/** The routes of rotations; what they made is read as secrets. */
export function rotationRoutes(): SliceRoutes {
  return { routes: [rotate, rotateServer, ...runRoutes()] };
}

const rotate = route({
  method: 'post',
  path: '/api/v1/secrets/{name}/rotate',
  id: 'rotateSecret',
  summary: "Give a tenant's database a new credential, without a failed request",
  tag: 'secrets',
  permission: 'secret:rotate',
  params: z.object({ name: z.string().min(1).max(100) }),
  body: RotateSecret.optional(),
  status: 202,
  response: SecretRotation,
  handle: async (call) => {
    const wanted = call.body ?? RotateSecret.parse({});
    const asker = { ...call, reason: wanted.reason };
    const started = await startRotateSecret(call.tx, call.params.name, wanted, asker);
    const { tenant, operationId: operation, joined } = started;
    return accepted(operation, { tenant, operation, joined });
  },
});

const rotateServer = route({
  method: 'post',
  path: '/api/v1/servers/{name}/rotate',
  id: 'rotateServer',
  summary: "Give a server's admin and its migrators new passwords; nothing that runs notices",
  tag: 'servers',
  permission: 'secret:rotate',
  params: z.object({ name: z.string().min(1).max(100) }),
  body: RotateServer.optional(),
  status: 202,
  response: ServerRotation,
  handle: async (call) => {
    const asker = { ...call, reason: call.body?.reason };
    const {
      server,
      operationId: operation,
      joined,
    } = await startRotateServer(call.tx, call.params.name, asker);
    return accepted(operation, { server, operation, joined });
  },
});
