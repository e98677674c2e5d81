import { z } from 'zod';
import { scramVerifier } from '../../platform/crypto.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import { wake } from '../operations/driver.ts';
import type { OperationDefinition, StepContext } from '../operations/definition.ts';
import { findStaged, findVersion, markRevoked, noteRetired } from '../secrets/store.ts';
import { databaseSubject } from '../secrets/secret.ts';
import { databaseNames } from '../servers/database.ts';
import { checkIsRefused, checkLogin } from '../tenants/login-check.ts';
import { disableLogin, endSessions, setLogin } from '../tenants/roles.ts';
import { tenantSubject } from '../tenants/tenant.ts';
import type { RotationDeps } from './deps.ts';
import { RETIRE } from './retire.ts';

export const RotateInput = z.object({
  tenantId: z.uuid(),
  slug: z.string(),
  region: z.string(),
  databaseId: z.uuid(),
  serverId: z.uuid(),
  connectionLimit: z.number().int(),
  /** The version that is made, and its login: the one that is not current. */
  versionId: z.uuid(),
  login: z.string(),
  /** The version that was current, and its login. */
  before: z.object({ versionId: z.uuid(), login: z.string() }),
  /** Whether the old login is closed at once, with its sessions, instead of when nobody needs it any more. */
  now: z.boolean(),
});
export type RotateInput = z.infer<typeof RotateInput>;
type Context = StepContext<RotateInput>;

/**
 * Gives a tenant's database a new credential. Only the login that is not current is ever altered, and the intent is
 * committed before the server is touched: wherever it is cut, what is handed out works. With `finish` the route feed
 * tells the apps; what was current then waits in stage previous until nobody needs it (retire.ts).
 */
export const rotateSecret: OperationDefinition<RotateInput, RotationDeps> = {
  kind: 'secret.rotate',
  input: RotateInput,
  cancellable: true,
  steps: [
    { name: 'create', do: create, undo: destroy },
    { name: 'set', do: set, undo: unset },
    { name: 'test', do: test },
    { name: 'finish', do: finish, undo: goBack },
  ],
};

/**
 * A version that still stands as previous, or as pending from a rotation whose undo could not reach the server, had the
 * same login: its value dies with this.
 */
async function create({ input, transaction }: Context, deps: RotationDeps): Promise<void> {
  const subject = databaseSubject(input.databaseId);
  await transaction(async (tx) => {
    const older = await deps.secrets.previous(tx, subject);
    const givenUp = await findStaged(tx, subject, 'pending');
    for (const id of [older?.versionId, givenUp?.id]) {
      if (id === undefined || id === input.before.versionId || id === input.versionId) continue;
      await deps.secrets.destroyVersion(tx, id);
      await noteRetired(tx, id, 'its login was needed for a newer version');
    }
    await deps.secrets.createVersion(tx, {
      id: input.versionId,
      owner: tenantSubject(input.tenantId),
      subject,
      region: input.region,
      login: input.login,
    });
  });
}

async function destroy({ input, transaction }: Context, deps: RotationDeps): Promise<void> {
  await transaction(async (tx) => {
    if (!(await isHandedOut(tx, input))) await deps.secrets.destroyVersion(tx, input.versionId);
  });
}

async function set({ input, signal }: Context, deps: RotationDeps): Promise<void> {
  const current = await findStaged(deps.registry, databaseSubject(input.databaseId), 'current');
  if (current?.login === input.login) throw alreadyCurrent(input);
  const password = await deps.secrets.password(deps.registry, input.versionId);
  signal.throwIfAborted();
  await deps.servers.admin(input.serverId, async (admin) => {
    await setLogin(admin, databaseNames(input.databaseId), input.login, {
      verifier: scramVerifier(password),
      connectionLimit: input.connectionLimit,
    });
    // Nobody has the new password yet: whoever is in came with one that was rotated out before.
    if (input.now) await endSessions(admin, [input.login]);
  });
}

async function unset({ input }: Context, deps: RotationDeps): Promise<void> {
  if (await isHandedOut(deps.registry, input)) return;
  await deps.servers.admin(input.serverId, (admin) =>
    disableLogin(admin, databaseNames(input.databaseId), input.login),
  );
}

/** As the application will: the right database and what it needs there, and nothing anywhere else. */
async function test({ input, operationId }: Context, deps: RotationDeps): Promise<void> {
  const names = databaseNames(input.databaseId);
  const [address, password] = await Promise.all([
    deps.servers.address(input.serverId, names.name),
    deps.secrets.password(deps.registry, input.versionId),
  ]);
  const asLogin = { ...address, user: input.login, password };
  await checkLogin(asLogin, { names, login: input.login, marker: input }, `fleet:${operationId}`);
  await checkIsRefused({ ...asLogin, database: COMMON_DATABASE }, `fleet:${operationId}`);
}

/** There is one on every server, and every login could enter it before the server was hardened. */
const COMMON_DATABASE = 'postgres';

/** From its commit on it is handed out; the version before is handed out to nobody any more. */
async function finish({ input, transaction }: Context, deps: RotationDeps): Promise<void> {
  await transaction(async (tx) => {
    await deps.secrets.promote(tx, input.versionId);
    if (!input.now) return;
    await markRevoked(tx, input.before.versionId);
    await wake(tx, RETIRE, input.before.versionId);
  });
}

/**
 * Apps may have the new version already: it stands as previous then, and is closed like any other that was rotated out.
 * Its login and value stay until that.
 */
async function goBack({ input, transaction }: Context, deps: RotationDeps): Promise<void> {
  await transaction(async (tx) => {
    const isCurrent = (await findVersion(tx, input.versionId))?.stage === 'current';
    if (isCurrent) await deps.secrets.recall(tx, input.before.versionId);
  });
}

/** Whether somebody may have it: it is, or was, handed out. */
async function isHandedOut(db: Queryable, { versionId }: RotateInput): Promise<boolean> {
  const stage = (await findVersion(db, versionId))?.stage;
  return stage === 'current' || stage === 'previous';
}

/** Never to be seen: the start has chosen the other login, and a tenant has one operation at a time. */
function alreadyCurrent({ slug, login }: RotateInput): FleetError {
  return new FleetError({
    code: 'login_is_current',
    status: 409,
    message: `login ${login} of ${slug} is the one in use: it is not altered`,
    fix: `fleet secret get ${slug}, then rotate again`,
  });
}
