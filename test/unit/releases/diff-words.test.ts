import assert from 'node:assert/strict';
import { differenceInWords } from '../../../control-plane/releases/diff-words.ts';
import { describeSchema } from '../../../control-plane/releases/schema.ts';

const ROLES = { ownerRole: 'owner', rwRole: 'rw', logins: [] };

function described(objects: Record<string, string[]>): string {
  const rows = Object.entries(objects).flatMap(([object, parts]) =>
    parts.map((part, rank) => ({ object, rank, part })),
  );
  return describeSchema(rows, ROLES).description;
}

const TASKS = ['column id bigint not null', 'column title text', 'constraint tasks_pkey PRIMARY KEY (id)'];
const table = (...more: string[]) => ({ 'table public.tasks': [...TASKS, ...more] });

describe('the difference of two schemas in words', () => {
  const cases: [string, Record<string, string[]>, Record<string, string[]>, string[]][] = [
    ['nothing', table(), table(), []],
    ['a new table', {}, table(), ['table tasks added (2 columns)']],
    ['a table that goes', table(), {}, ['table tasks removed (2 columns)']],
    [
      'a new column',
      table(),
      table('column done boolean not null default false'),
      ['table tasks: column done added (boolean, not null, default false)'],
    ],
    [
      'a default that reads like a property',
      table(),
      table("column note text default 'is not null'"),
      ["table tasks: column note added (text, default 'is not null')"],
    ],
    [
      'a plain column',
      table(),
      table('column day date', 'column x text collate pg_catalog."C" not null not valid'),
      [
        'table tasks: column day added (date)',
        'table tasks: column x added (text, collate pg_catalog."C", not null not valid)',
      ],
    ],
    [
      'a changed column',
      table('column n int'),
      table('column n bigint not null'),
      ['table tasks: column n changed from int to bigint, not null'],
    ],
    [
      'indexes and constraints',
      table('index old USING btree (title)'),
      table('constraint short CHECK (length(title) < 9)', 'index fresh unique USING btree (title)'),
      [
        'table tasks: index old removed',
        'table tasks: constraint short added (CHECK (length(title) < 9))',
        'table tasks: index fresh added (unique USING btree (title))',
      ],
    ],
    [
      'grants and bodies',
      { 'function public.f()': ['definition\nBEGIN\nRETURN 1;\nEND', 'grant execute to rw'] },
      { 'function public.f()': ['definition\nBEGIN\nRETURN 2;\nEND'] },
      ['function f(): grant execute to rw removed', 'function f(): definition changed'],
    ],
  ];
  for (const [what, before, after, words] of cases) {
    it(`tells of ${what}`, () => {
      assert.deepEqual(differenceInWords(described(before), described(after)), words);
    });
  }
});
