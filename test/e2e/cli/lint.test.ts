import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AuditEntry } from '../../../contract/audit.ts';
import { LintReport } from '../../../contract/lint.ts';
import { ReleaseDetail } from '../../../contract/release.ts';
import { projectRoot } from '../../../platform/project.ts';
import { startFleet, type Fleet } from '../../support/fleet.ts';
import { fleet as run, inFolder, type CliRun } from '../../unit/cli/harness.ts';

const FILES = {
  '0001_tasks.sql': 'CREATE TABLE tasks (id bigint PRIMARY KEY, title text);\n',
  '0002_index.sql':
    '-- Finds tasks by title.\n-- Up Migration\n\nCREATE INDEX tasks_title\n  ON tasks (title);\n-- Down Migration\nDROP INDEX tasks_title;\n',
  '0003_notes.sql': 'CREATE TABLE notes (\n  id bigint PRIMARY KEY,\n  body json);\n',
};
const ALLOWED = `-- fleet: allow=require-concurrent-index-creation reason="no tenant has tasks yet"\n${FILES['0002_index.sql']}`;

function folderWith(folder: string, files: Record<string, string>): void {
  mkdirSync(join(folder, 'm'), { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, 'm', name), text);
}

/** As a process of its own, as users run it. */
function program(...argv: string[]) {
  const main = join(projectRoot(), 'fleet-cli', 'main.ts');
  const options = { cwd: projectRoot(), env: { PATH: process.env.PATH }, encoding: 'utf8' } as const;
  return spawnSync(process.execPath, ['--import', 'tsx', main, ...argv], options);
}

describe('fleet release lint', () => {
  /** Without a context, an address or a token: nothing is asked. */
  const lint = (cwd: string, ...flags: string[]): Promise<CliRun> =>
    run(['release', 'lint', 'm', ...flags], { cwd, env: { HOME: cwd } });

  it('shows place, rule, lock, who waits and the SQL to write instead, and fails on an error', async () => {
    await inFolder(async (folder) => {
      folderWith(folder, FILES);
      const { code, stdout, stderr } = await lint(folder);
      assert.equal(code, 1);
      assert.match(stdout, /^0002_index\.sql:4: error: .* \[require-concurrent-index-creation\]$/m);
      assert.match(stdout, /^ +lock +SHARE, blocks writes of tasks while it is built$/m);
      assert.match(stdout, /^ +instead +build it concurrently/m);
      assert.match(stdout, /^ +-- fleet: transaction=off\n +CREATE INDEX CONCURRENTLY tasks_title$/m);
      assert.match(stdout, /^0003_notes\.sql:3: warning: .*\[prefer-jsonb\]$/m);
      assert.match(
        stderr,
        /lint_failed: 1 error, 1 warning and 0 allowed in 3 migrations, for PostgreSQL 15 to 18/,
      );
    });
  });

  it('prints JSON, and exits 6 on findings where it is asked to tell them apart', async () => {
    await inFolder(async (folder) => {
      folderWith(folder, { ...FILES, '0002_index.sql': ALLOWED });
      const json = await lint(folder, '-o', 'json');
      assert.equal(json.code, 0, json.stderr);
      const report = LintReport.parse(JSON.parse(json.stdout));
      assert.deepEqual(
        report.findings.map(({ location, rule, severity, allowed }) => [location, rule, severity, allowed]),
        [
          ['0002_index.sql:5', 'require-concurrent-index-creation', 'error', 'no tenant has tasks yet'],
          ['0003_notes.sql:3', 'prefer-jsonb', 'warning', null],
        ],
      );
      assert.deepEqual([report.errors, report.warnings, report.allowed], [0, 1, 1]);
      assert.equal((await lint(folder, '--detailed-exitcode')).code, 6);
      assert.equal((await lint(folder, '--detailed-exitcode', '--baseline', '0003_notes')).code, 0);
    });
  });

  it('lints for the servers that are named', async () => {
    await inFolder(async (folder) => {
      folderWith(folder, { '0001_a.sql': 'CREATE TABLE a (id uuid DEFAULT uuidv7());\n' });
      assert.match((await lint(folder)).stdout, /uuidv7\(\) needs PostgreSQL 18/);
      const recent = await lint(folder, '--server-version', '18', '--detailed-exitcode');
      assert.deepEqual([recent.code, recent.stdout], [0, '']);
      for (const wrong of ['14..18', '18..15', 'new']) {
        assert.equal((await lint(folder, '--server-version', wrong)).code, 2, wrong);
      }
    });
  });

  it('names the file and line of SQL that cannot be read, and goes on with the others', async () => {
    await inFolder(async (folder) => {
      folderWith(folder, { ...FILES, '0001_tasks.sql': '\nCREATE TABEL tasks ();\n' });
      const { code, stdout } = await lint(folder);
      assert.equal(code, 1);
      assert.match(stdout, /^0001_tasks\.sql:2: error: syntax error at or near "TABEL" \[syntax-error\]$/m);
      assert.match(stdout, /^0002_index\.sql:4: error/m);
    });
  });

  it('refuses wrong input', async () => {
    await inFolder(async (folder) => {
      folderWith(folder, FILES);
      assert.equal((await run(['release', 'lint', 'nowhere'], { cwd: folder })).code, 2);
      assert.equal((await lint(folder, '--baseline', '0009_x')).code, 2);
      folderWith(folder, { '0002_index.sql': '-- fleet: allow=no-such-rule reason="x"\nSELECT 1;\n' });
      const { status, stderr } = program('release', 'lint', join(folder, 'm'));
      assert.equal(status, 2, stderr);
      assert.match(stderr, /0002_index\.sql:1 allows no-such-rule, which is no lint rule/);
    });
  });
});

describe('publishing what lint finds fault with', () => {
  let server: Fleet;
  before(async () => {
    server = await startFleet({ publish: false, role: 'api' });
  });
  after(async () => {
    await server.stop();
  });

  it('is refused with the same places, and goes through with a reason, which everybody can read later', async () => {
    await inFolder(async (folder) => {
      const env = { HOME: folder, FLEET_URL: server.url, FLEET_TOKEN: server.adminToken };
      const cli = (...argv: string[]) => run(argv, { cwd: folder, env });
      folderWith(folder, FILES);
      const refused = await cli('release', 'publish', 'm', '-o', 'json');
      assert.equal(refused.code, 2);
      const problem = JSON.parse(refused.stderr) as {
        code: string;
        errors: { path: string; code: string }[];
      };
      assert.equal(problem.code, 'lint_failed');
      assert.deepEqual(
        problem.errors.map(({ path, code }) => [path, code]),
        [['0002_index.sql:4', 'require-concurrent-index-creation']],
      );
      assert.equal((await cli('release', 'list', '-o', 'json')).stdout.trim(), '[]');

      folderWith(folder, { '0002_index.sql': ALLOWED });
      const published = await cli('release', 'publish', 'm', '--name', 'r1');
      assert.equal(published.code, 0, published.stderr);
      assert.match(published.stderr, /0003_notes\.sql:3: warning: .*\[prefer-jsonb\]/);
      assert.match(published.stderr, /0002_index\.sql:5: allowed: .*because: no tenant has tasks yet/);

      assert.match((await cli('release', 'get', 'r1')).stdout, /allowed: .*because: no tenant has tasks yet/);
      const detail = ReleaseDetail.parse(
        JSON.parse((await cli('release', 'get', 'r1', '-o', 'json')).stdout),
      );
      assert.deepEqual(
        detail.steps.map(({ findings }) => findings.map(({ rule }) => rule)),
        [[], ['require-concurrent-index-creation'], ['prefer-jsonb']],
      );
      const audit = await server.admin.ok<{ items: AuditEntry[] }>(
        'GET',
        '/api/v1/audit?action=release.publish',
      );
      assert.match(JSON.stringify(audit.items[0]?.after), /no tenant has tasks yet/);
    });
  });

  it('wants a reason for a baseline', async () => {
    await inFolder(async (folder) => {
      folderWith(folder, FILES);
      const { code, stderr } = await run(['release', 'publish', 'm', '--baseline', '0002_index'], {
        cwd: folder,
      });
      assert.equal(code, 2);
      assert.match(stderr, /--baseline and --reason belong together/);
    });
  });
});
