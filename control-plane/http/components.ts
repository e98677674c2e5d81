import { zodToOpenAPIRegistry, type OpenAPIRegistry } from '@asteasolutions/zod-to-openapi';
import { z } from 'zod';
import * as access from '../../contract/access.ts';
import * as auditing from '../../contract/audit.ts';
import * as operation from '../../contract/operation.ts';
import * as page from '../../contract/page.ts';
import * as problem from '../../contract/problem.ts';
import * as progress from '../../contract/progress.ts';
import * as rehearsal from '../../contract/rehearsal.ts';
import * as release from '../../contract/release.ts';
import * as rollout from '../../contract/rollout.ts';
import * as plan from '../../contract/rollout-plan.ts';
import * as feed from '../../contract/route.ts';
import * as schema from '../../contract/schema-diff.ts';
import * as secret from '../../contract/secret.ts';
import * as server from '../../contract/server.ts';
import * as tenant from '../../contract/tenant.ts';

const CONTRACT = {
  ...access,
  ...auditing,
  ...operation,
  ...page,
  ...problem,
  ...progress,
  ...rehearsal,
  ...release,
  ...rollout,
  ...plan,
  ...feed,
  ...schema,
  ...secret,
  ...server,
  ...tenant,
};

/** Makes each schema of the contract a component, under the name that the contract exports it by. */
export function contractDefinitions(): { name: string; schema: z.ZodType }[] {
  return Object.entries(CONTRACT).flatMap(([name, schema]) => {
    if (!(schema instanceof z.ZodType)) return [];
    zodToOpenAPIRegistry.add(schema, { _internal: { refId: name } });
    return [{ name, schema }];
  });
}

/** Answers for errors, each under the name by which operations refer to it. */
const PROBLEMS: Record<string, [name: string, description: string]> = {
  '400': ['BadRequest', 'The body cannot be read or is not JSON.'],
  '401': ['Unauthenticated', 'The API key is missing, unknown, expired or revoked.'],
  '403': ['Forbidden', 'The role lacks the permission, or the key is bound to other regions.'],
  '404': ['NotFound', 'The named resource does not exist.'],
  '409': ['Conflict', 'The present state does not allow it, or the name is taken.'],
  '412': ['VersionConflict', 'Somebody changed the resource since the version in If-Match.'],
  '413': ['TooLarge', 'The body is too large.'],
  '415': ['UnsupportedMediaType', 'The body is not `application/json`.'],
  '422': [
    'InvalidRequest',
    'Values are not valid: `errors` names each. Or the Idempotency-Key was used before.',
  ],
  '500': ['Internal', 'Our fault; the log has the request id.'],
  '503': ['Unavailable', 'The registry cannot be reached or is too busy. Nothing was changed.'],
};

const EXAMPLE: problem.Problem = {
  type: 'urn:flotilla:problem:slug_taken',
  title: 'Slug taken',
  status: 409,
  code: 'slug_taken',
  detail: 'a tenant named acme exists',
  fix: 'choose another slug, or look at it: fleet tenant get acme',
  requestId: '6f1c2e0a-4a52-4c0e-9a3e-1f2b7c9d8e10',
};

/** The components that every operation refers to. */
export function registerShared(registry: OpenAPIRegistry): void {
  registry.registerComponent('securitySchemes', 'apiKey', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'flt_…',
    description: 'An API key, made by `fleet key create`.',
  });
  for (const [name, description] of Object.values(PROBLEMS)) {
    registry.registerComponent('responses', name, {
      description,
      headers: { 'X-Request-Id': { $ref: '#/components/headers/RequestId' } },
      content: {
        'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' }, example: EXAMPLE },
      },
    });
  }
  registerHeaders(registry);
}

function registerHeaders(registry: OpenAPIRegistry): void {
  const header = (name: string, description: string): void => {
    registry.registerComponent('headers', name, { description, schema: { type: 'string' } });
  };
  header(
    'RequestId',
    'Id of this request in the log and the audit trail; the one that was sent, or a new one.',
  );
  header('Version', 'The version of the resource, in double quotes; send it back as If-Match.');
  header('OperationLocation', 'Where the operation that was started can be watched.');
  header('Replayed', '`true` when the answer is that of an earlier request with the same Idempotency-Key.');
  registry.registerComponent('parameters', 'IdempotencyKey', {
    name: 'Idempotency-Key',
    in: 'header',
    required: false,
    description:
      'Makes the request safe to repeat for 24 hours: the same key with the same request has its effect once and gets the same answer.',
    schema: { type: 'string', minLength: 1, maxLength: 200 },
    example: '01JD3W6Q8Z7N5V0K2B9F4T1XRM',
  });
  registry.registerComponent('parameters', 'IfMatch', {
    name: 'If-Match',
    in: 'header',
    required: false,
    description: 'The ETag that the change is based on; 412 when the resource has changed since.',
    schema: { type: 'string' },
    example: '"3"',
  });
}

/** References to the error answers of these statuses. */
export function problemResponses(statuses: number[]): Record<string, { $ref: string }> {
  const named = statuses.flatMap((status) => {
    const name = PROBLEMS[String(status)]?.[0];
    return name === undefined ? [] : [[String(status), { $ref: `#/components/responses/${name}` }] as const];
  });
  return Object.fromEntries(named);
}
