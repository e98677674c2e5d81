import assert from 'node:assert/strict';
import { RolloutVerbBody, SkipTarget } from '../../../contract/rollout.ts';
import { CreateTenant, UpdateTenant } from '../../../contract/tenant.ts';
import { CliError } from '../../../fleet-cli/errors.ts';
import { cleaned, cleanLine, cleanText, escapeInJson } from '../../../fleet-cli/output/clean.ts';
import { createOutput } from '../../../fleet-cli/output/output.ts';
import { renderError } from '../../../fleet-cli/output/problem.ts';
import { rolloutFrame } from '../../../fleet-cli/output/rollout-frame.ts';
import type { Paint } from '../../../fleet-cli/output/style.ts';
import { renderFields, renderTable } from '../../../fleet-cli/output/table.ts';
import type { Column } from '../../../fleet-cli/output/view.ts';
import { screenIo } from './harness.ts';
import { NOW, progress } from './progress.ts';

/** Red, a second line, the terminal's title, an escape of one byte, and letters the other way round. */
const HOSTILE = '\u001b[31mRed\u001b[0m\nx\r\u2028\u001b]0;title\u0007\u009b2J\u202eback';
// eslint-disable-next-line no-control-regex -- these are what is looked for
const OBEYED = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

const plain: Paint = (_tone, text) => text;
const red: Paint = (_tone, text) => `\u001b[31m${text}\u001b[39m`;

const columns: Column<{ name: string }>[] = [
  { title: 'name', value: ({ name }) => name },
  { title: 'state', value: (_item, paint) => paint('bad', 'failed') },
];

describe('text from elsewhere on a terminal', () => {
  it('stays on its line of a table, and commands nothing', () => {
    const lines = renderTable([{ name: HOSTILE }], columns, plain, undefined).split('\n');
    assert.equal(lines.length, 2);
    for (const line of lines) assert.doesNotMatch(line, OBEYED);
    const fields = renderFields({ name: HOSTILE }, columns, plain).split('\n');
    assert.equal(fields.length, 2);
    for (const line of fields) assert.doesNotMatch(line, OBEYED);
  });

  it('leaves the colours that are ours', () => {
    const table = renderTable([{ name: HOSTILE }], columns, red, undefined);
    assert.ok(table.includes('\u001b[31mfailed\u001b[39m'));
    assert.ok(!table.includes('\u001b[31mRed'));
  });

  it('does nothing in an error, which is cut where somebody took a file for a name', () => {
    const error = new CliError({ code: 'usage', exitCode: 2, message: HOSTILE, fix: HOSTILE, why: HOSTILE });
    assert.doesNotMatch(renderError(error, 'table', plain), OBEYED);
    const long = new CliError({ code: 'usage', exitCode: 2, message: 'x'.repeat(1_000_000) });
    assert.ok(renderError(long, 'table', plain).length < 3_000);
  });

  it('does nothing in the picture of a rollout', () => {
    const given = progress({
      author: HOSTILE,
      deferred: [{ reason: HOSTILE, count: 1, nextAt: null, example: { tenant: HOSTILE, ...SERVER } }],
    });
    const lines = rolloutFrame(given, plain, { columns: undefined, rows: undefined }, Date.parse(NOW));
    for (const line of lines) assert.doesNotMatch(line, OBEYED);
  });

  it('is told to programs whole, in escapes of JSON', () => {
    const { io, stdout } = screenIo(false, {});
    createOutput({ output: 'json', color: true, input: false }, io).text('', { name: HOSTILE });
    assert.deepEqual(JSON.parse(stdout.text), { name: HOSTILE });
    assert.doesNotMatch(escapeInJson(JSON.stringify(HOSTILE)), OBEYED);
  });

  it('keeps its letters, numbers, lines and shape', () => {
    assert.equal(cleanText('a\r\nb\tc \u{1f600} é'), 'a\nb\tc \u{1f600} é');
    assert.equal(cleanLine('a\r\nb\n\tc'), 'a b c');
    const data = { a: [1, null, { 'k\n': 'v\u0007' }], at: undefined, set: new Set(['\u0007']) };
    assert.deepEqual(cleaned(data, cleanLine), { ...data, a: [1, null, { 'k ': 'v ' }] });
  });
});

const SERVER = { region: 'eu', server: 'eu-1' };

describe('text that people give', () => {
  it('is refused with line breaks or control characters', () => {
    const refused = (parsed: { success: boolean; error?: { message: string } }) => {
      assert.equal(parsed.success, false);
      assert.match(parsed.error?.message ?? '', /may not hold line breaks or other control characters/);
    };
    const tenant = { slug: 'lab', region: 'eu' };
    for (const bad of ['a\nb', '\u001b[31mred', 'a\u0000b', 'a\u202eb', 'a\u2028b']) {
      refused(CreateTenant.safeParse({ ...tenant, name: bad }));
      refused(CreateTenant.safeParse({ ...tenant, contact: bad }));
      refused(CreateTenant.safeParse({ ...tenant, labels: { z: bad } }));
      refused(UpdateTenant.safeParse({ labels: { z: bad } }));
      refused(RolloutVerbBody.safeParse({ reason: bad }));
      refused(SkipTarget.safeParse({ target: 'lab', reason: bad }));
    }
    assert.equal(UpdateTenant.safeParse({ labels: { 'a\nb': 'x' } }).success, false);
  });

  it('is taken in every language, without the blanks around it', () => {
    const { name } = CreateTenant.parse({ slug: 'lab', region: 'eu', name: ' Müller & Söhne 株式会社 \n' });
    assert.equal(name, 'Müller & Söhne 株式会社');
  });
});
