import assert from 'node:assert/strict';
import { parse } from 'yaml';
import { CliError, toCliError } from '../../../fleet-cli/errors.ts';
import { EXIT, exitCodeOfStatus } from '../../../fleet-cli/exit.ts';
import { renderError } from '../../../fleet-cli/output/problem.ts';
import { FleetError } from '../../../platform/errors.ts';
import { fleet } from './harness.ts';

const NOWHERE = { FLEET_URL: 'http://127.0.0.1:2' };
const plain = (_tone: string, text: string) => text;

describe('errors of the command line', () => {
  const codes: [number, number][] = [
    [400, EXIT.usage],
    [401, EXIT.denied],
    [403, EXIT.denied],
    [404, EXIT.conflict],
    [409, EXIT.conflict],
    [412, EXIT.conflict],
    [422, EXIT.usage],
    [429, EXIT.failed],
    [500, EXIT.failed],
    [503, EXIT.failed],
  ];
  for (const [status, code] of codes) {
    it(`answers status ${status} with exit code ${code}`, () => {
      assert.equal(exitCodeOfStatus(status), code);
    });
  }

  it('says what is wrong, why, how to mend it and which request it was', () => {
    const error = new CliError({
      code: 'slug_taken',
      exitCode: EXIT.conflict,
      message: 'there is a tenant acme',
      why: 'it was made yesterday',
      fix: 'take another name',
      requestId: 'r-1',
      errors: [{ path: 'slug', message: 'taken' }],
    });
    assert.equal(
      renderError(error, 'table', plain),
      [
        'error slug_taken: there is a tenant acme',
        '  - slug: taken',
        '  cause: it was made yesterday',
        '  fix: take another name',
        '  request: r-1',
        '',
      ].join('\n'),
    );
    const fields = JSON.parse(renderError(error, 'json', plain)) as Record<string, unknown>;
    assert.deepEqual(Object.keys(fields), ['code', 'message', 'cause', 'fix', 'requestId', 'errors']);
    assert.deepEqual(parse(renderError(error, 'yaml', plain)), fields);
  });

  it('does not repeat a finding that is the message', () => {
    const errors = [{ path: 'body.slug', message: 'reserved' }];
    const error = new CliError({ code: 'x', exitCode: 2, message: 'body.slug: reserved', errors });
    assert.equal(renderError(error, 'table', plain), 'error x: body.slug: reserved\n');
    assert.deepEqual((JSON.parse(renderError(error, 'json', plain)) as { errors: unknown }).errors, errors);
  });

  it('takes over the code, the fix and the status of errors of shared code', () => {
    const error = toCliError(new FleetError({ code: 'x', status: 409, message: 'm', fix: 'f' }));
    assert.deepEqual([error.code, error.exitCode, error.fix], ['x', EXIT.conflict, 'f']);
    assert.equal(toCliError(new TypeError('oops')).code, 'internal');
  });

  it('tells that nothing listens, in lines or as one JSON object', async () => {
    const lines = await fleet(['tenant', 'list'], { env: NOWHERE });
    assert.equal(lines.code, EXIT.failed);
    assert.match(lines.stderr, /cannot be reached/);
    assert.match(lines.stderr, /cause: nothing listens/);
    assert.match(lines.stderr, /fix: start it with `npm start`.*127\.0\.0\.1:2 .*`fleet doctor`/);
    const json = await fleet(['tenant', 'list', '-o', 'json'], { env: NOWHERE });
    assert.equal((JSON.parse(json.stderr) as { code: string }).code, 'unreachable');
    assert.equal(json.stdout, '');
  });

  it('is JSON on stderr for a mistake in the command line too', async () => {
    const run = await fleet(['tenant', 'create', 'acme', '-o', 'json']);
    assert.equal(run.code, EXIT.usage);
    assert.equal((JSON.parse(run.stderr) as { code: string }).code, 'usage');
  });

  it('ends with 130 when it is interrupted', async () => {
    const run = await fleet(['tenant', 'list'], { env: NOWHERE, signal: AbortSignal.abort() });
    assert.equal(run.code, EXIT.interrupted);
  });
});
