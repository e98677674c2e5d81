import { sha256 } from '../../platform/crypto.ts';
import type { Queryable } from '../../platform/pg.ts';
import { ROLE_ENDS, ROLE_OPENS, SCHEMA_SQL } from './schema-sql.ts';

/**
 * A database's schema as text, which is equal where schemas are equal. One object after the other, by name:
 *
 *   table public.tasks
 *     column id bigint not null generated always as identity
 *     constraint tasks_pkey PRIMARY KEY (id)
 *     grant delete, insert, select, update to rw
 *
 * Two blanks are a part of the object above; four go on with the part above (a function's body, a view's query).
 */
export interface Schema {
  /** SHA-256 of the description: equal fingerprints are equal schemas. */
  fingerprint: string;
  description: string;
}

/** Raised when this program describes schemas in another way than before: older descriptions are then worthless. */
export const SCHEMA_FORMAT = 1;

/** The database's own roles. They are told by what they do, as their names differ from database to database. */
export interface SchemaRoles {
  ownerRole: string;
  rwRole: string;
  /** The application's: it has two by turns. */
  logins: string[];
}

/** A row that SCHEMA_SQL gives. */
export interface CatalogueRow {
  object: string;
  rank: number;
  part: string;
}

/** Makes the description; the order of `rows` means nothing. */
export function describeSchema(rows: readonly CatalogueRow[], roles: SchemaRoles): Schema {
  const rename = roleNamer(roles);
  const objects = new Map<string, CatalogueRow[]>();
  for (const row of rows) {
    if (isReading(row)) continue;
    const parts = objects.get(row.object) ?? [];
    objects.set(row.object, parts);
    const part = rename(row.part);
    if (part !== OWNED_AS_USUAL) parts.push({ ...row, part });
  }
  const description = [...objects]
    .sort(([a], [b]) => compare(a, b))
    .map(([object, parts]) => describeObject(object, parts))
    .join('');
  return { fingerprint: sha256(description), description };
}

/**
 * What people's read-only logins are members of (`readerNames` in servers/database.ts): made in a database when
 * somebody first looks into it, and no part of any release.
 */
const READING = new RegExp(`^grant [^${ROLE_OPENS}]* to ${ROLE_OPENS}t_[0-9a-f]{32}_ro${ROLE_ENDS}$`);

function isReading({ part }: CatalogueRow): boolean {
  return READING.test(part);
}

/** Nearly everything belongs to the owner; saying so each time would hide what does not. */
const OWNED_AS_USUAL = 'owned by owner';

function describeObject(object: string, parts: CatalogueRow[]): string {
  const sorted = parts.sort((a, b) => a.rank - b.rank || compare(a.part, b.part));
  const lines = sorted.map(({ part }) => `  ${part.trimEnd().replaceAll('\n', '\n    ')}\n`);
  return `${object.replaceAll('\n', '\\n')}\n${lines.join('')}`;
}

/** By code units, not by a locale: the order must be the same on every machine. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const MARKED_ROLE = new RegExp(`${ROLE_OPENS}([^${ROLE_ENDS}]*)${ROLE_ENDS}`, 'g');

function roleNamer({ ownerRole, rwRole, logins }: SchemaRoles): (part: string) => string {
  const names = new Map([
    ...logins.map((login) => [login, 'app'] as const),
    [rwRole, 'rw'],
    [ownerRole, 'owner'],
  ]);
  // A role of the server that happens to be called `rw` must not pass for the database's own.
  return (part) =>
    part.replace(MARKED_ROLE, (_, name: string) => names.get(name) ?? `role ${JSON.stringify(name)}`);
}

/**
 * Reads the schema in the caller's transaction, whose settings (search path, date style, …) are then those of
 * SCHEMA_SQL until its end. One round trip.
 */
export async function readSchema(db: Queryable, roles: SchemaRoles): Promise<Schema> {
  // The driver answers a script with an array, which its types do not say.
  const results: unknown = await db.query(SCHEMA_SQL);
  const rows = (results as { rows: CatalogueRow[] }[]).at(-1)?.rows ?? [];
  return describeSchema(rows, roles);
}
