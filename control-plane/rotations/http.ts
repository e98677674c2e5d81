import { z } from 'zod';
import { RotateSecret, SecretRotation } from '../../contract/secret.ts';
import { accepted, route, type SliceRoutes } from '../http/route.ts';
import { runRoutes } from './runs/http.ts';
import { startRotateSecret } from './start.ts';

/** The routes of rotations; what they made is read as secrets. */
export function rotationRoutes(): SliceRoutes {
  return { routes: [rotate, ...runRoutes()] };
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
