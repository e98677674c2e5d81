import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../../platform/project.ts';
import {
  named,
  policyStatements,
  terraformFiles,
  terraformFolder,
  terraformText,
  typed,
  type Placed,
  type TerraformFile,
} from '../support/terraform.ts';

/** Some value, whichever. */
const ANYTHING = Symbol('anything');

/** What each kind of resource must say. */
const MUST_SAY: Record<string, Record<string, unknown>> = {
  aws_db_instance: {
    storage_encrypted: true,
    kms_key_id: ANYTHING,
    publicly_accessible: false,
    manage_master_user_password: true,
    master_user_secret_kms_key_id: ANYTHING,
    performance_insights_kms_key_id: ANYTHING,
    multi_az: ANYTHING,
    deletion_protection: ANYTHING,
    skip_final_snapshot: false,
  },
  aws_kms_key: { enable_key_rotation: true, multi_region: false, policy: ANYTHING },
  aws_cloudwatch_log_group: { kms_key_id: ANYTHING, retention_in_days: ANYTHING },
  aws_secretsmanager_secret: { kms_key_id: ANYTHING, recovery_window_in_days: 30 },
  aws_efs_file_system: { encrypted: true, kms_key_id: ANYTHING },
  aws_sns_topic: { kms_master_key_id: ANYTHING },
  aws_subnet: { map_public_ip_on_launch: false },
};

/** Attributes and resources whose value would lie readable in the state. */
const PLAIN_SECRETS = /^(password|master_password|secret_string|secret_binary|auth_token|private_key)$/;
const SECRET_MAKERS = [
  'aws_secretsmanager_secret_version',
  'random_password',
  'tls_private_key',
  'aws_iam_access_key',
];

describe('Terraform', () => {
  let files: TerraformFile[];

  before(async () => {
    files = await terraformFiles();
  });

  it('gives every variable a type and a description, every output a description', () => {
    const variables = named(files, 'variable').filter(
      ({ block }) => !says(block['type']) || !says(block['description']),
    );
    const outputs = named(files, 'output').filter(({ block }) => !says(block['description']));
    assert.deepEqual(places([...variables, ...outputs]), []);
  });

  it('allows actions by their names, each written out', () => {
    const statements = policyStatements(files);
    assert.ok(statements.length > 20);
    const loose = statements.filter(
      ({ actions, block }) =>
        block['not_actions'] !== undefined ||
        !Array.isArray(actions) ||
        !actions.every((action) => /^[a-z]+:[A-Z][A-Za-z]+$/.test(String(action))),
    );
    assert.deepEqual(places(loose), []);
  });

  it('knows policies from data sources only, so that the rule above sees all of them', () => {
    const inline = typed(files, 'resource').filter(({ block }) =>
      ['policy', 'assume_role_policy'].some((name) => name in block && !isDocument(String(block[name]))),
    );
    assert.deepEqual(places(inline), []);
    const foreign = typed(files, 'resource').filter(({ type }) => type.endsWith('_policy_attachment'));
    assert.deepEqual(places(foreign), []);
  });

  it('encrypts what holds data, and opens nothing to the internet', () => {
    const found = typed(files, 'resource').flatMap(({ place, type, block }) =>
      Object.entries(MUST_SAY[type] ?? {})
        .filter(([name, wanted]) =>
          typeof wanted === 'symbol' ? !says(block[name]) : block[name] !== wanted,
        )
        .map(([name]) => `${place}: ${name}`),
    );
    assert.deepEqual(found, []);
    const kinds = new Set(typed(files, 'resource').map(({ type }) => type));
    assert.deepEqual(
      Object.keys(MUST_SAY).filter((type) => !kinds.has(type)),
      [],
    );
  });

  it('keeps secrets out of the state', () => {
    const attributes = typed(files, 'resource').flatMap(({ place, block }) =>
      Object.keys(block)
        .filter((name) => PLAIN_SECRETS.test(name))
        .map((name) => `${place}: ${name}`),
    );
    assert.deepEqual(attributes, []);
    assert.deepEqual(places(typed(files, 'resource').filter(({ type }) => SECRET_MAKERS.includes(type))), []);
    const read = typed(files, 'data').filter(({ type }) =>
      type.startsWith('aws_secretsmanager_secret_version'),
    );
    assert.deepEqual(places(read), []);
  });

  it('says on top of every module what it is for, tests it, and pins the same versions', () => {
    for (const module of terraformFolder('modules')) {
      assert.match(
        terraformText('modules', module, 'main.tf'),
        /^# .{40}/,
        `${module}/main.tf begins with what it is for`,
      );
      const tests = terraformFolder('modules', module, 'tests');
      assert.ok(
        tests.some((name) => name.endsWith('.tftest.hcl')),
        `${module} has tests`,
      );
      for (const test of tests)
        assert.match(terraformText('modules', module, 'tests', test), /assert \{/, `${module}/${test}`);
    }
    const pins = new Set(files.filter(({ path }) => path.endsWith('/versions.tf')).map(({ text }) => text));
    assert.equal(pins.size, 1);
  });

  it('argues each check of checkov that it leaves out', () => {
    const skips = files.flatMap(({ path, text }) =>
      text
        .split('\n')
        .filter((line) => line.includes('checkov:skip'))
        .map((line) => `${path}: ${line.trim()}`),
    );
    assert.deepEqual(
      skips.filter((line) => !/#checkov:skip=CKV2?_AWS_\d+:.{30}/.test(line)),
      [],
    );
  });

  it('sets variables that the programs read, and prints commands that the CLI has', () => {
    const readers = ['platform/config.ts', 'tenant-app/main.ts'].map(projectText).join('\n');
    const set = files.flatMap(({ text }) => text.match(/\bFLEET_[A-Z_]+/g) ?? []);
    assert.deepEqual(
      [...new Set(set)].filter((name) => !readers.includes(`${name}:`)),
      [],
    );

    const cli =
      readdirSync(join(projectRoot(), 'fleet-cli', 'commands'))
        .map((name) => projectText(`fleet-cli/commands/${name}`))
        .join('\n') + projectText('fleet-cli/globals.ts');
    const commands = files.flatMap(
      ({ text }) => text.match(/\bfleet (context|region|server|key) [^"|`]*/g) ?? [],
    );
    assert.ok(commands.length >= 4);
    const flags = commands.flatMap((command) => command.match(/--[a-z-]+/g) ?? []);
    assert.deepEqual(
      [...new Set(flags)].filter((flag) => !cli.includes(flag)),
      [],
    );
  });
});

function says(value: unknown): boolean {
  return value !== undefined && value !== null && value !== '';
}

function isDocument(expression: string): boolean {
  return /^\$\{data\.aws_iam_policy_document\.\w+\.json\}$|^\$\{each\.value\}$/.test(expression);
}

function places(found: Placed[]): string[] {
  return found.map(({ place }) => place);
}

function projectText(path: string): string {
  return readFileSync(join(projectRoot(), path), 'utf8');
}
