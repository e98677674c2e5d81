import type { PublishRelease } from '../../contract/release.ts';
import type { Finding } from '../../contract/lint.ts';
import { FleetError } from '../../platform/errors.ts';
import { SUPPORTED_SERVERS } from '../../platform/sql-lint/rule.ts';
import type { Caller } from '../access/caller.ts';
import { audit } from '../audit/audit.ts';
import type { Transaction } from '../registry/registry.ts';
import { lintRelease } from './lint.ts';
import { refuseGap, takeOffer, type Offer, type OfferWords } from './offer.ts';
import { migrationChecksum, releaseChecksum, type Migration } from './release.ts';
import type { Statement } from './sql.ts';
import {
  currentRelease,
  findRelease,
  findReleaseAt,
  fleetHasDatabases,
  insertFindings,
  insertMigrations,
  insertRelease,
  listMigrations,
  listReleasesUpTo,
  lockPublishing,
  migrationHolders,
  nextReleaseName,
  serverVersions,
  setCurrentRelease,
} from './store.ts';
import { validateMigrations } from './validate.ts';
import { wayBack } from './way-back.ts';
import { findWithdrawn } from './withdrawn-store.ts';

/**
 * Publishes the folder's migrations as a release and returns its name. `request.migrations` is the whole
 * list from the first migration on, in the folder's order; what is new goes to the end of the published list, also
 * where the folder has it further up and that is allowed. Publishing the same again, under the same name or under none, returns
 * the release that exists and changes nothing.
 * The first release becomes the one that new tenants are born at, unless databases exist already (then a
 * rollout has to bring them along first).
 * @throws FleetError 422 `migration_invalid`, 422 `lint_failed`, 422 `baseline_not_found`, 409 `migration_edited`, 409 `migration_out_of_order`,
 *   409 `release_exists` (the name stands for other content, or was withdrawn), 409 `release_unchanged` (the content has a name).
 */
export async function publishRelease(
  tx: Transaction,
  request: PublishRelease,
  caller: Caller,
  requestId: string | null,
): Promise<string> {
  await lockPublishing(tx);
  const published = await listMigrations(tx);
  const words = await wordsOf(tx, published.length);
  const offer = takeOffer(published, request.migrations, { ...request, ...words });
  await refuseWithdrawnName(tx, request.name);
  const existing = await existingRelease(tx, request, { published, known: offer.known, words });
  if (existing !== undefined) return existing;

  const { fresh } = offer;
  const added = await prepare(offer, published.length);
  const servers = (await serverVersions(tx)) ?? SUPPORTED_SERVERS;
  refuseUnknownBaseline(request);
  const findings = await lintRelease({ published, added: fresh, servers, baseline: request.baseline });
  const all = [...published.slice(0, offer.known), ...added];
  const head = all.at(-1);
  if (head === undefined) throw new Error('a release has at least one migration');
  const release = {
    name: request.name ?? (await nextReleaseName(tx)),
    head: head.name,
    headOrdinal: head.ordinal,
    checksum: releaseChecksum(all),
    publishedBy: caller.name,
  };
  await insertMigrations(tx, added);
  await insertFindings(tx, findings);
  await insertRelease(tx, release);
  const current = await makeCurrent(tx, release.name);
  audit(tx, {
    actor: caller.name,
    actorRole: caller.role,
    action: 'release.publish',
    resource: `release:${release.name}`,
    after: {
      head: release.head,
      checksum: release.checksum,
      added: added.map(({ name, checksum, outOfOrder }) => ({
        ...{ name, checksum },
        ...(outOfOrder === true ? { outOfOrder } : {}),
      })),
      current,
      lint: lintSummary(findings),
      ...(request.baseline === undefined ? {} : { baseline: request.baseline }),
    },
    reason: request.baseline?.reason ?? null,
    requestId,
  });
  return release.name;
}

async function wordsOf(tx: Transaction, count: number): Promise<OfferWords> {
  const holders = await migrationHolders(tx);
  const releases = await listReleasesUpTo(tx, count);
  const bornAt = (await fleetHasDatabases(tx)) ? ((await currentRelease(tx))?.headOrdinal ?? 0) : 0;
  return { holders, wayBack: (ordinal) => wayBack({ holders, releases, bornAt }, ordinal) };
}

/** What an auditor wants to know: which rules were broken on purpose, where and why. */
function lintSummary(findings: Finding[]) {
  return {
    warnings: findings.filter(({ allowed }) => allowed === null).length,
    allowed: findings
      .filter(({ allowed }) => allowed !== null)
      .map(({ rule, location, allowed }) => ({ rule, location, reason: allowed })),
  };
}

function refuseUnknownBaseline({ baseline, migrations }: PublishRelease): void {
  if (baseline === undefined || migrations.some(({ name }) => name === baseline.migration)) return;
  throw new FleetError({
    code: 'baseline_not_found',
    status: 422,
    message: `the baseline ${baseline.migration} is not among the migrations`,
    fix: 'name the last migration that is to be taken as it stands, without the ending of its file',
  });
}

/** What bore the name once is still spoken of: by rollouts, rehearsals and the audit log. */
async function refuseWithdrawnName(tx: Transaction, name: string | undefined): Promise<void> {
  if (name === undefined || (await findWithdrawn(tx, name)) === undefined) return;
  throw new FleetError({
    code: 'release_exists',
    status: 409,
    message: `release ${name} was withdrawn: its name is not given again`,
    fix: 'publish under another name, or leave the name out; the names of the migrations may stay',
  });
}

/** The release that holds exactly what is offered, where publishing it again is no error; undefined if new. */
async function existingRelease(
  tx: Transaction,
  { name, migrations, upTo }: PublishRelease,
  { published, known, words }: { published: Migration[]; known: number; words: OfferWords },
): Promise<string | undefined> {
  const named = name === undefined ? undefined : await findRelease(tx, name);
  if (named !== undefined && named.headOrdinal === migrations.length) return named.name;
  if (upTo === undefined || migrations.at(-1)?.name !== upTo) refuseGap(published, known, words);
  if (named !== undefined) {
    throw new FleetError({
      code: 'release_exists',
      status: 409,
      message: `release ${named.name} exists and ends at ${named.head}: releases are immutable`,
      fix: 'publish under another name, or leave the name out',
    });
  }
  if (migrations.length > published.length) return undefined;
  const same = await findReleaseAt(tx, migrations.length);
  if (same === undefined || name === undefined) return same?.name;
  throw new FleetError({
    code: 'release_unchanged',
    status: 409,
    message: `release ${same.name} holds exactly these migrations already: there is nothing to publish as ${name}`,
    fix: `use ${same.name}, or add a migration`,
  });
}

async function prepare({ fresh, late }: Offer, after: number): Promise<Migration[]> {
  const statements = await validateMigrations(fresh);
  return fresh.map((migration, index) => ({
    name: migration.name,
    ordinal: after + index + 1,
    checksum: migrationChecksum(migration.upSql, migration.downSql),
    upSql: migration.upSql,
    downSql: migration.downSql,
    phase: migration.phase,
    transactional: migration.transactional,
    lockTimeoutMs: migration.lockTimeoutMs,
    statementTimeoutMs: migration.statementTimeoutMs,
    statements: migration.transactional ? null : textsOf(statements[index]),
    backfill: migration.backfill,
    requiresApp: migration.requiresApp,
    outOfOrder: late.has(migration.name),
  }));
}

function textsOf(statements: Statement[] | undefined): string[] {
  return (statements ?? []).map(({ text }) => text);
}

async function makeCurrent(tx: Transaction, name: string): Promise<boolean> {
  if ((await currentRelease(tx)) !== undefined) return false;
  if (await fleetHasDatabases(tx)) return false;
  await setCurrentRelease(tx, name);
  return true;
}
