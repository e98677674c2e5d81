import type {
  MigrationSummary,
  ReleaseDiff,
  RolloutSchemaDiff,
  VersionDiff,
} from '../../contract/schema-diff.ts';
import { cleaned } from './clean.ts';
import { colouredDiff } from './drift-view.ts';
import { findingNotes } from './lint-view.ts';
import { counted, someOf } from './plural.ts';
import type { Paint } from './style.ts';

/** Versions that few targets have: more of them no one reads; `-o json` has all. */
const OTHERS_SHOWN = 5;
/** Migrations named in one line. */
const NAMES_SHOWN = 6;

/** What a rollout makes of its targets' schemas: words first, then the diff, then who starts elsewhere. */
export function renderRolloutDiff({ starts }: RolloutSchemaDiff, paint: Paint): string {
  const [most, ...others] = cleaned(starts);
  if (most === undefined) return 'no target changes its schema';
  const rest = others.slice(0, OTHERS_SHOWN).map((start) => {
    const names = start.migrations.map(({ name }) => name);
    return `${counted(start.targets, 'target')} from ${version(start.from)}: ${someOf(names, NAMES_SHOWN)}`;
  });
  const more = others.length - OTHERS_SHOWN;
  return [
    renderVersions(most, `the schema of ${counted(most.targets, 'target')}`, paint),
    ...(rest.length === 0 ? [] : [rest.join('\n') + (more > 0 ? `\nand ${more} more versions` : '')]),
  ].join('\n\n');
}

/** What lies between two releases. */
export function renderReleaseDiff(raw: ReleaseDiff, paint: Paint): string {
  const diff = cleaned(raw);
  const { release, fromRelease, backwards, migrations, findings } = diff;
  const between = `release ${release} against ${fromRelease === null ? 'the empty database' : `release ${fromRelease}`}`;
  if (migrations.length === 0) return `${between}: no difference`;
  const names = migrations.map((one) => `  ${migrationText(one)}`).join('\n');
  return [
    `${paint('bold', between)}: ${counted(migrations.length, 'migration')}${backwards ? ' taken back' : ''}\n${names}`,
    ...(findings.length === 0 ? [] : [findingNotes(findings).join('\n')]),
    renderVersions(diff, 'the schema', paint),
  ].join('\n\n');
}

function renderVersions(diff: VersionDiff, subject: string, paint: Paint): string {
  const title = `${paint('bold', subject)} ${paint('dim', `(${version(diff.from)} → ${version(diff.to)})`)}`;
  return [
    [title, ...changesText(diff).map((line) => `  ${line}`), ...dataText(diff.migrations)].join('\n'),
    ...(diff.schema === null || diff.schema.diff === ''
      ? []
      : [colouredDiff(diff.schema.diff, paint).trimEnd()]),
  ].join('\n\n');
}

function changesText({ schema, absent }: VersionDiff): string[] {
  if (schema !== null) return schema.summary.length === 0 ? ['stays as it is'] : schema.summary;
  return [
    `not shown: ${absent?.message ?? 'not compared'}`,
    ...(absent?.fix === undefined ? [] : [absent.fix]),
  ];
}

/** What changes rows and no schema, which no diff shows. */
function dataText(migrations: readonly MigrationSummary[]): string[] {
  return migrations.flatMap(({ name, backfill }) =>
    backfill === null ? [] : [`  data only: ${name}, a backfill of ${backfill.table}`],
  );
}

function version(name: string | null): string {
  return name ?? 'the empty database';
}

/** The migration with what is not usual about it. */
export function migrationText(migration: MigrationSummary): string {
  const { phase, requiresApp, backfill, transactional, reversible, outOfOrder } = migration;
  const facts = [
    phase === 'expand' ? '' : phase,
    requiresApp === null ? '' : `app >= ${requiresApp}`,
    backfill === null ? '' : `backfill of ${backfill.table}`,
    transactional || backfill !== null ? '' : 'outside a transaction',
    outOfOrder ? 'out of order' : '',
    reversible ? '' : 'no way back',
  ].filter((fact) => fact !== '');
  return facts.length === 0 ? migration.name : `${migration.name} (${facts.join(', ')})`;
}
