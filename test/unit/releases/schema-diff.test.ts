import assert from 'node:assert/strict';
import { schemaDiff } from '../../../control-plane/releases/schema-diff.ts';
import { describeSchema, type CatalogueRow } from '../../../control-plane/releases/schema.ts';

const ROLES = { ownerRole: 't_1_owner', rwRole: 't_1_rw', logins: ['t_1_a', 't_1_b'] };

/** A description from `object: part, part` lines; columns come first. */
function described(objects: Record<string, string[]>): string {
  const rows = Object.entries(objects).flatMap(([object, parts]) =>
    parts.map((part, rank): CatalogueRow => ({ object, rank, part })),
  );
  return describeSchema(rows, ROLES).description;
}

const TASKS = ['column id bigint not null', 'column title text', 'constraint tasks_pkey PRIMARY KEY (id)'];

describe('the description of a schema', () => {
  const rows: CatalogueRow[] = [
    { object: 'table public.tasks', rank: 7, part: 'grant select to \u0001t_1_rw\u0002' },
    { object: 'table public.tasks', rank: 0, part: 'owned by \u0001t_1_owner\u0002' },
    { object: 'table public.tasks', rank: 2, part: 'column title text' },
    { object: 'function public.f()', rank: 8, part: 'definition\nBEGIN\n\n  END\n' },
    { object: 'function public.f()', rank: 0, part: 'owned by \u0001somebody\u0002' },
    { object: 'function public.f()', rank: 7, part: 'grant execute to \u0001t_1_b\u0002' },
  ];

  it('is sorted, and calls roles by what they do', () => {
    assert.equal(
      describeSchema(rows, ROLES).description,
      [
        'function public.f()',
        '  owned by role "somebody"',
        '  grant execute to app',
        '  definition',
        '    BEGIN',
        '    ',
        '      END',
        'table public.tasks',
        '  column title text',
        '  grant select to rw',
        '',
      ].join('\n'),
    );
  });

  it('is the same whatever the order of rows and the names of the roles', () => {
    const other = { ownerRole: 't_2_owner', rwRole: 't_2_rw', logins: ['t_2_a', 't_2_b'] };
    const renamed = [...rows].reverse().map((row) => ({ ...row, part: row.part.replaceAll('t_1_', 't_2_') }));
    assert.deepEqual(describeSchema(renamed, other), describeSchema(rows, ROLES));
  });

  it("does not take a stranger's role for the database's own", () => {
    const stranger = [{ object: 'table public.t', rank: 7, part: 'grant select to \u0001rw\u0002' }];
    const own = [{ object: 'table public.t', rank: 7, part: 'grant select to \u0001t_1_rw\u0002' }];
    assert.notEqual(describeSchema(stranger, ROLES).fingerprint, describeSchema(own, ROLES).fingerprint);
  });
});

describe('the difference of two schemas', () => {
  it('is nothing where they are the same', () => {
    const schema = described({ 'table public.tasks': TASKS });
    assert.deepEqual(schemaDiff(schema, schema), { diff: '', changes: [], digest: null });
  });

  const cases: [string, Record<string, string[]>, Record<string, string[]>, string[]][] = [
    ['a new table', {}, { 'table public.tasks': TASKS }, ['+ table tasks (2 columns)']],
    ['a table that is gone', { 'table public.tasks': TASKS }, {}, ['- table tasks (2 columns)']],
    [
      'a new column',
      { 'table public.tasks': TASKS },
      { 'table public.tasks': [...TASKS, 'column due_on date'] },
      ['~ tasks: + column due_on date'],
    ],
    [
      'a changed column',
      { 'table public.tasks': TASKS },
      { 'table public.tasks': TASKS.with(1, 'column title text not null') },
      ['~ tasks: ~ column title: text → text not null'],
    ],
    [
      'an index that is invalid',
      { 'table public.tasks': ['index i USING btree (a)'] },
      { 'table public.tasks': ['index i USING btree (a) -- invalid'] },
      ['~ tasks: ~ index i: USING btree (a) → USING btree (a) -- invalid'],
    ],
    [
      'a grant',
      { 'table other.t': ['grant select to rw'] },
      { 'table other.t': ['grant insert, select to rw'] },
      ['~ other.t: - grant select to rw', '~ other.t: + grant insert, select to rw'],
    ],
    [
      'the body of a function',
      { 'function public.f()': ['definition\nBEGIN\nRETURN 1;\nEND'] },
      { 'function public.f()': ['definition\nBEGIN\nRETURN 2;\nEND'] },
      ['~ function f(): ~ definition changed'],
    ],
    [
      'names with blanks',
      { 'table public."my tasks"': ['column "due on" date'] },
      { 'table public."my tasks"': ['column "due on" text'] },
      ['~ "my tasks": ~ column "due on": date → text'],
    ],
  ];
  for (const [what, before, after, changes] of cases) {
    it(`tells ${what} in words`, () => {
      assert.deepEqual(schemaDiff(described(before), described(after)).changes, changes);
    });
  }

  it('is a unified diff whose hunks name the object that they are in', () => {
    const before = described({
      'table public.tasks': ['column a int', 'column b int', 'column c int', 'column d int'],
    });
    const after = described({
      'table public.tasks': ['column a int', 'column b int', 'column c int', 'column d text'],
    });
    assert.equal(
      schemaDiff(before, after, { before: 'expected', after: 'found' }).diff,
      [
        '--- expected',
        '+++ found',
        '@@ -2,4 +2,4 @@ table public.tasks',
        '   column a int',
        '   column b int',
        '   column c int',
        '-  column d int',
        '+  column d text',
        '',
      ].join('\n'),
    );
  });

  it('is known again when both schemas have gone on', () => {
    const index = 'index mine USING btree (title)';
    const first = schemaDiff(
      described({ 'table public.tasks': TASKS }),
      described({ 'table public.tasks': [...TASKS, index] }),
    );
    const later = schemaDiff(
      described({
        'table public.tasks': [...TASKS, 'column due_on date'],
        'table public.new': ['column id int'],
      }),
      described({
        'table public.tasks': [...TASKS, 'column due_on date', index],
        'table public.new': ['column id int'],
      }),
    );
    assert.notEqual(first.digest, null);
    assert.equal(later.digest, first.digest);
    const elsewhere = schemaDiff(
      described({ 'table public.other': TASKS }),
      described({ 'table public.other': [...TASKS, index] }),
    );
    assert.notEqual(elsewhere.digest, first.digest);
  });
});
