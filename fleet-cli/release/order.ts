import { invalid } from './invalid.ts';

/** One migration and the files it is made of. */
export interface Unit {
  /** What node-pg-migrate writes into `pgmigrations`. */
  name: string;
  /** `single`: up and down in one SQL file. `pair`: a file each, or up only. `script`: TypeScript or JavaScript. */
  kind: 'single' | 'pair' | 'script';
  file: string;
  downFile?: string;
}

const SCRIPT = /\.(?:[cm]?[jt]s)$/;
const DECLARATION = /\.d\.[cm]?ts$/;
const FLYWAY = /^([VU])(\d+(?:[._]\d+)*)__.+\.sql$/;
const FLYWAY_OTHER = /^[RB]\d*.*__.+\.sql$/;

/**
 * Groups files to migrations and puts them in order: Flyway's by version, all others as node-pg-migrate sorts.
 * @throws FleetError `migration_invalid` for names that no tool would order, orphans and doubles.
 */
export function orderUnits(files: string[]): Unit[] {
  const known = files.filter(
    (file) => file.endsWith('.sql') || (SCRIPT.test(file) && !DECLARATION.test(file)),
  );
  const flyway = known.filter((file) => FLYWAY.test(file) || FLYWAY_OTHER.test(file));
  const [foreign] = flyway.length === 0 ? [] : known.filter((file) => !flyway.includes(file));
  if (foreign !== undefined) {
    throw invalid(
      foreign,
      'cannot be ordered among files with Flyway names: use one way of naming in a folder',
    );
  }
  return flyway.length > 0 ? orderFlyway(flyway) : orderNumbered(known);
}

function orderNumbered(files: string[]): Unit[] {
  const downs = new Map<string, string>();
  for (const file of files) {
    if (file.endsWith('.down.sql')) downs.set(file.slice(0, -'.down.sql'.length), file);
  }
  const units = files.filter((file) => !file.endsWith('.down.sql')).map((file) => toUnit(file, downs));
  const names = new Map<string, string>();
  for (const { name, file } of units) {
    const other = names.get(name);
    if (other !== undefined) throw invalid(file, `and ${other} are both migration ${name}`);
    names.set(name, file);
  }
  for (const [name, file] of downs) {
    if (!names.has(name)) throw invalid(file, `has no ${name}.up.sql beside it`);
  }
  return units.toSorted((a, b) => compareNames(sortKey(a), sortKey(b)));
}

function toUnit(file: string, downs: Map<string, string>): Unit {
  if (!/^\d/.test(file)) {
    throw invalid(file, 'does not begin with a number, so that it has no place in the order');
  }
  if (file.endsWith('.up.sql')) {
    const name = file.slice(0, -'.up.sql'.length);
    const downFile = downs.get(name);
    return { name, kind: 'pair', file, ...(downFile === undefined ? {} : { downFile }) };
  }
  const name = file.slice(0, file.lastIndexOf('.'));
  if (downs.has(name))
    throw invalid(file, `stands beside ${name}.down.sql: use one file or .up.sql and .down.sql`);
  return { name, kind: file.endsWith('.sql') ? 'single' : 'script', file };
}

/** node-pg-migrate sorts pairs under the name that they would have as one file. */
function sortKey(unit: Unit): string {
  return unit.kind === 'pair' ? `${unit.name}.sql` : unit.file;
}

/** As node-pg-migrate's compareMigrationFileNames: by the number in front, then by the whole name. */
function compareNames(a: string, b: string): number {
  return (
    numericPrefix(a) - numericPrefix(b) ||
    a.localeCompare(b, undefined, {
      usage: 'sort',
      numeric: true,
      sensitivity: 'variant',
      ignorePunctuation: true,
    })
  );
}

/** Digits of `YYYYMMDDhhmmssSSS`: node-pg-migrate reads a prefix of this length as an instant in UTC. */
const UTC_DIGITS = 17;

function numericPrefix(name: string): number {
  const prefix = /^\d+/.exec(name)?.[0] ?? '';
  if (prefix.length !== UTC_DIGITS) return Number(prefix);
  const [date, time] = [prefix.slice(0, 8), prefix.slice(8)];
  const day = `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}`;
  return Date.parse(`${day}T${time.slice(0, 2)}:${time.slice(2, 4)}:${time.slice(4, 6)}.${time.slice(6)}Z`);
}

function orderFlyway(files: string[]): Unit[] {
  const versions = new Map<string, { up?: string; down?: string; parts: number[] }>();
  for (const file of files) {
    const [, prefix, version] = FLYWAY.exec(file) ?? [];
    if (version === undefined) {
      throw invalid(file, 'is a repeatable or baseline migration; a release holds versioned ones (V…) only');
    }
    const parts = version.split(/[._]/).map(Number);
    const entry = versions.get(parts.join('.')) ?? { parts };
    const role = prefix === 'V' ? 'up' : 'down';
    const other = entry[role];
    if (other !== undefined) throw invalid(file, `has the same version as ${other}`);
    versions.set(parts.join('.'), { ...entry, [role]: file });
  }
  return [...versions.values()].toSorted((a, b) => compareVersions(a.parts, b.parts)).map(flywayUnit);
}

function flywayUnit({ up, down }: { up?: string; down?: string }): Unit {
  if (up === undefined) throw invalid(down ?? '', 'undoes a version that has no V file');
  const name = up.slice(0, -'.sql'.length);
  return { name, kind: 'pair', file: up, ...(down === undefined ? {} : { downFile: down }) };
}

function compareVersions(a: number[], b: number[]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
