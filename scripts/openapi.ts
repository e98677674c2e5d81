import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { allRoutes } from '../control-plane/control-plane.ts';
import { openApiDocument } from '../control-plane/http/openapi.ts';
import type { SliceRoutes } from '../control-plane/http/route.ts';
import { openRegistry } from '../control-plane/registry/registry.ts';
import { createSecrets } from '../control-plane/secrets/secret.ts';
import { createServerAccess } from '../control-plane/servers/access.ts';
import { createLogger } from '../platform/logging.ts';
import { projectRoot } from '../platform/project.ts';

/** Where the API's description stands; a test compares it with what `renderOpenApi` makes. */
export const OPENAPI_FILE = join(projectRoot(), 'docs', 'reference', 'openapi.json');

/** Every route of the control plane, with dependencies that connect to nothing until they are used. */
export function describedRoutes(): SliceRoutes[] {
  const logger = createLogger('openapi', 'silent');
  const registry = openRegistry('postgres://nobody@127.0.0.1:1/none', logger);
  const masterKey = randomBytes(32);
  const secrets = createSecrets(masterKey);
  const servers = createServerAccess({ registry, secrets, logger });
  return allRoutes({ registry, secrets, servers, logger, masterKey, clustersFolder: '' }, new Map());
}

/** The text of the committed file. */
export function renderOpenApi(): string {
  return `${JSON.stringify(openApiDocument(describedRoutes()), null, 2)}\n`;
}

if (process.argv[1] === import.meta.filename) {
  mkdirSync(dirname(OPENAPI_FILE), { recursive: true });
  writeFileSync(OPENAPI_FILE, renderOpenApi());
}
