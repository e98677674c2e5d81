import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { bindingOf } from '../../control-plane/secrets/keys/key-service.ts';
import { identifierOf, tagsOf } from '../../control-plane/servers/providers/rds/instance.ts';
import { awsTags, keyAlias, SECRETS_COMPONENT, secretName } from '../../platform/aws/names.ts';
import { actionsIn, actionsOf, actionsOfProgram, parseSource } from '../support/aws-calls.ts';
import { ACCOUNT, GIVEN, programRole } from '../support/aws-policies.ts';
import { isAllowed, type Ask, type Statement } from '../support/iam.ts';
import { policyStatements, terraformFiles, type TerraformFile } from '../support/terraform.ts';

/** What AWS asks of the caller behind a call, and nothing in the code calls: why, and behind which call. */
const BEHIND: Record<string, { action: string; behind: string; because: string }[]> = {
  'control-plane': [
    { action: 'kms:TagResource', behind: 'kms:CreateKey', because: 'keys are made with tags' },
    {
      action: 'secretsmanager:TagResource',
      behind: 'secretsmanager:CreateSecret',
      because: 'secrets are made with tags',
    },
    {
      action: 'kms:GenerateDataKey',
      behind: 'secretsmanager:PutSecretValue',
      because: "values are sealed in the caller's name",
    },
    {
      action: 'kms:Decrypt',
      behind: 'secretsmanager:GetSecretValue',
      because: "values are opened in the caller's name",
    },
    {
      action: 'kms:DescribeKey',
      behind: 'rds:CreateDBInstance',
      because: "RDS looks at the key in the caller's name",
    },
    {
      action: 'kms:CreateGrant',
      behind: 'rds:CreateDBInstance',
      because: 'RDS keeps a grant for as long as the server lives',
    },
  ],
  'tenant-app': [
    {
      action: 'kms:Decrypt',
      behind: 'secretsmanager:GetSecretValue',
      because: "values are opened in the caller's name",
    },
  ],
};

/** Documents of a module with what its program calls. */
const CALLS = ['task', 'servers'];
/** Documents of a module that are about no call of the SDK: mounting the data folder. */
const NO_CALLS = ['data_folder', 'data_folder_guard'];

describe('rights on AWS', () => {
  let files: TerraformFile[];
  before(async () => {
    files = await terraformFiles();
  });

  for (const program of ['control-plane', 'tenant-app']) {
    it(`gives ${program} what its code calls, neither more nor less`, () => {
      const documents = actionsByDocument(files, `modules/${program}`);
      const called = actionsOfProgram(`${program}/main.ts`);
      assert.ok(called.size > 0);
      const allowed = new Set(CALLS.flatMap((name) => [...(documents.get(name) ?? [])]));
      assert.deepEqual(differences(called, allowed, 'calls'), []);
    });

    it(`argues what ${program} needs behind its calls, neither more nor less`, () => {
      const documents = actionsByDocument(files, `modules/${program}`);
      const called = actionsOfProgram(`${program}/main.ts`);
      const argued = BEHIND[program] ?? [];
      const needed = new Set(argued.filter(({ behind }) => called.has(behind)).map(({ action }) => action));
      assert.deepEqual(differences(needed, documents.get('behind') ?? new Set(), 'needs'), []);
      assert.deepEqual(
        argued.filter(({ behind }) => !called.has(behind)),
        [],
        'nothing calls this any more',
      );
      const known = ['behind', ...CALLS, ...NO_CALLS];
      const unknown = [...documents.keys()].filter((name) => !known.includes(name));
      assert.deepEqual(unknown, [], 'every policy is compared with something');
    });
  }

  it('lets the CLI call nothing of AWS', () => {
    assert.deepEqual([...actionsOfProgram('fleet-cli/main.ts')], []);
  });

  describe('on the names, tags and contexts that the code makes', () => {
    let controlPlane: Statement[];
    let apps: Record<'eu' | 'us', Statement[]>;
    const [tenant, database, server] = [randomUUID(), randomUUID(), randomUUID()];
    before(async () => {
      controlPlane = await programRole(files, 'control-plane');
      apps = {
        eu: await programRole(files, 'tenant-app', 'eu'),
        us: await programRole(files, 'tenant-app', 'us'),
      };
    });

    const awsRegionOf = (region: string) => (region === 'eu' ? 'eu-central-1' : 'us-east-1');
    function secretArn(
      region: string,
      owner: string,
      subject: string,
      awsRegion = awsRegionOf(region),
    ): string {
      const name = secretName(GIVEN.fleet_name, { region, owner, subject });
      return `arn:aws:secretsmanager:${awsRegion}:${ACCOUNT}:secret:${name}-AbCdEf`;
    }
    function keyTags(of: 'Request' | 'Resource', region: string, owner: string): Record<string, string> {
      const tags = awsTags(GIVEN.fleet_name, region, SECRETS_COMPONENT, [owner]);
      return Object.fromEntries(Object.entries(tags).map(([name, value]) => [`aws:${of}Tag/${name}`, value]));
    }
    const reading = (region: string, owner: string, subject: string, awsRegion?: string): Ask[] => [
      {
        action: 'secretsmanager:GetSecretValue',
        resource: secretArn(region, owner, subject, awsRegion),
        context: { 'aws:RequestedRegion': awsRegion ?? awsRegionOf(region) },
      },
      {
        action: 'kms:Decrypt',
        resource: `arn:aws:kms:${awsRegion ?? awsRegionOf(region)}:${ACCOUNT}:key/${randomUUID()}`,
        context: {
          ...keyTags('Resource', region, owner),
          'kms:ViaService': `secretsmanager.${awsRegion ?? awsRegionOf(region)}.amazonaws.com`,
          'kms:EncryptionContext:SecretARN': secretArn(region, owner, subject, awsRegion),
        },
      },
    ];
    const outcome = (role: Statement[], asks: Ask[]) => asks.map((ask) => isAllowed(role, ask));

    it('lets an app read the credentials of tenants of its own region, and none of another', () => {
      const own = reading('eu', `tenant:${tenant}`, `database:${database}`);
      assert.deepEqual(outcome(apps.eu, own), [true, true]);
      assert.deepEqual(outcome(apps.us, own), [false, false]);
      const abroad = reading('us', `tenant:${tenant}`, `database:${database}`);
      assert.deepEqual(outcome(apps.eu, abroad), [false, false]);
      assert.deepEqual(outcome(apps.us, abroad), [true, true]);
    });

    it('lets no app read its own region out of another region of AWS, nor another fleet', () => {
      const elsewhere = reading('eu', `tenant:${tenant}`, `database:${database}`, 'us-east-1');
      assert.deepEqual(outcome(apps.eu, elsewhere), [false, false]);
      const [read, open] = reading('eu', `tenant:${tenant}`, `database:${database}`);
      assert.ok(read !== undefined && open !== undefined);
      assert.ok(
        !isAllowed(apps.eu, { ...read, resource: read.resource.replace(':flotilla/', ':flotilla-2/') }),
      );
      const tags = { ...open.context, 'aws:ResourceTag/fleet:fleet': 'flotilla-2' };
      assert.ok(!isAllowed(apps.eu, { ...open, context: tags }));
    });

    it('keeps what opens a server as its administrator from apps, and not from the control plane', () => {
      const admin = reading('eu', `server:${server}`, `server:${server}`);
      assert.deepEqual(outcome(apps.eu, admin), [false, false]);
      assert.deepEqual(outcome(controlPlane, admin), [true, true]);
    });

    it('lets nobody open a value by hand that Secrets Manager has sealed', () => {
      for (const role of [controlPlane, apps.eu]) {
        const [, open] = reading('eu', `tenant:${tenant}`, `database:${database}`);
        assert.ok(open !== undefined);
        const { 'kms:ViaService': _via, ...byHand } = open.context;
        assert.ok(!isAllowed(role, { ...open, context: byHand }));
      }
    });

    it('lets the control plane seal and open what it seals itself, by the context that it sends', () => {
      const place = {
        region: 'eu',
        owner: `tenant:${tenant}`,
        subject: `database:${database}`,
        versionId: 'v',
      };
      const sent = Object.entries(bindingOf(place)).map(([name, value]) => [
        `kms:EncryptionContext:${name}`,
        value,
      ]);
      const context = {
        ...keyTags('Resource', 'eu', place.owner),
        ...(Object.fromEntries(sent) as Record<string, string>),
      };
      const resource = `arn:aws:kms:eu-central-1:${ACCOUNT}:key/k`;
      for (const action of ['kms:GenerateDataKey', 'kms:Decrypt']) {
        assert.ok(isAllowed(controlPlane, { action, resource, context }));
        assert.ok(!isAllowed(apps.eu, { action, resource, context }));
      }
    });

    describe('of servers on RDS', () => {
      const fleet = GIVEN.fleet_name;
      const tags = tagsOf(fleet, { region: 'eu', serverId: server, tenantId: tenant });
      const arn = (kind: string, name: string) => `arn:aws:rds:eu-central-1:${ACCOUNT}:${kind}:${name}`;
      const own = arn('db', identifierOf(fleet, 'acme-1'));
      const marked = (of: 'Request' | 'Resource', given: Record<string, string> = tags) =>
        Object.fromEntries(Object.entries(given).map(([name, value]) => [`aws:${of}Tag/${name}`, value]));
      const may = (action: string, resource: string, context: Record<string, string> = {}): boolean =>
        isAllowed(controlPlane, { action: `rds:${action}`, resource, context });

      it('makes them encrypted and marked, or not at all', () => {
        const encrypted = { 'rds:StorageEncrypted': 'true' };
        for (const place of [own, arn('subgrp', 'fleet-eu'), arn('pg', 'fleet-eu-postgres18')]) {
          assert.ok(may('CreateDBInstance', place, { ...encrypted, ...marked('Request') }), place);
        }
        assert.ok(may('AddTagsToResource', own, marked('Request')));
        assert.ok(!may('CreateDBInstance', own, marked('Request')));
        assert.ok(!may('CreateDBInstance', own, encrypted));
        assert.ok(!may('CreateDBInstance', arn('db', 'another'), { ...encrypted, ...marked('Request') }));
        assert.ok(!may('CreateDBInstance', arn('subgrp', 'public'), { ...encrypted, ...marked('Request') }));
      });

      it('changes and deletes what has the marks that the code gives, and nothing else', () => {
        const registry = arn('db', 'fleet-registry');
        for (const action of ['ModifyDBInstance', 'DeleteDBInstance', 'StopDBInstance']) {
          assert.ok(may(action, own, marked('Resource')), action);
          assert.ok(may(action, arn('db', 'adopted'), marked('Resource')), action);
          assert.ok(!may(action, own), action);
          const foreign = marked('Resource', { ...tags, 'fleet:fleet': 'another' });
          assert.ok(!may(action, own, foreign), action);
          assert.ok(!may(action, registry, marked('Resource')), action);
        }
      });

      it('adopts what a person has marked for the fleet, but never the registry', () => {
        const claimed = { ...marked('Request'), 'aws:ResourceTag/fleet:fleet': fleet };
        assert.ok(may('AddTagsToResource', arn('db', 'legacy'), claimed));
        assert.ok(!may('AddTagsToResource', arn('db', 'legacy'), marked('Request')));
        assert.ok(!may('AddTagsToResource', arn('db', 'fleet-registry'), claimed));
      });
    });

    it('lets the control plane make keys that say whose they are, and touch no others', () => {
      const make = (tags: Record<string, string>): boolean =>
        isAllowed(controlPlane, {
          action: 'kms:CreateKey',
          resource: '*',
          context: { 'aws:RequestedRegion': 'eu-central-1', ...tags },
        });
      assert.ok(make(keyTags('Request', 'eu', `tenant:${tenant}`)));
      assert.ok(make(keyTags('Request', 'eu', `server:${server}`)));
      assert.ok(!make({}));
      assert.ok(!make({ ...keyTags('Request', 'eu', 'tenant:x'), 'aws:RequestTag/fleet:fleet': 'another' }));
      const resource = `arn:aws:kms:eu-central-1:${ACCOUNT}:key/k`;
      const destroy = (context: Record<string, string>): boolean =>
        isAllowed(controlPlane, { action: 'kms:ScheduleKeyDeletion', resource, context });
      assert.ok(destroy(keyTags('Resource', 'eu', `tenant:${tenant}`)));
      assert.ok(!destroy({}), 'a key of somebody else');
      assert.ok(!destroy({ 'aws:ResourceTag/fleet:component': 'key', 'aws:ResourceTag/fleet:region': 'eu' }));
      const alias = (fleet: string) =>
        `arn:aws:kms:eu-central-1:${ACCOUNT}:${keyAlias(fleet, { region: 'eu', owner: `tenant:${tenant}` })}`;
      const naming = (resource: string) =>
        isAllowed(controlPlane, { action: 'kms:CreateAlias', resource, context: {} });
      assert.deepEqual([naming(alias('flotilla')), naming(alias('another'))], [true, false]);
      const tagging = {
        action: 'kms:TagResource',
        resource,
        context: keyTags('Request', 'eu', `tenant:${tenant}`),
      };
      assert.ok(isAllowed(controlPlane, tagging));
      const taken = { ...tagging.context, ...keyTags('Resource', 'eu', 'tenant:another') };
      assert.ok(!isAllowed(controlPlane, { ...tagging, context: taken }));
    });
  });

  describe('the comparison itself', () => {
    it('finds what is missing and what is too much', () => {
      const found = differences(
        new Set(['kms:Decrypt', 'kms:CreateKey']),
        new Set(['kms:Decrypt', 'kms:Encrypt']),
        'calls',
      );
      assert.deepEqual(found, [
        'missing in the policy: kms:CreateKey, which the program calls',
        'too much in the policy: kms:Encrypt, which the program never calls',
      ]);
    });

    it('reads the commands that a source imports, and leaves out clients, errors and types', () => {
      const source = `
        import { KMSClient, CreateKeyCommand as Make, type DecryptCommand } from '@aws-sdk/client-kms';
        import type { EncryptCommand } from '@aws-sdk/client-kms';
        import { RDSServiceException, CreateDBInstanceCommand } from '@aws-sdk/client-rds';`;
      assert.deepEqual(actionsIn(parseSource('x.ts', source), 'x.ts'), [
        'kms:CreateKey',
        'rds:CreateDBInstance',
      ]);
    });

    it('refuses what it cannot follow', () => {
      const whole = "import * as kms from '@aws-sdk/client-kms';";
      assert.throws(() => actionsIn(parseSource('x.ts', whole), 'x.ts'), /whole/);
      const waiter = "import { waitUntilDBInstanceAvailable } from '@aws-sdk/client-rds';";
      assert.throws(() => actionsIn(parseSource('x.ts', waiter), 'x.ts'), /waitUntil/);
      assert.throws(() => actionsOf('@aws-sdk/client-ec2', 'RunInstancesCommand'), /no IAM prefix/);
    });

    it('knows where IAM has another name', () => {
      assert.deepEqual(actionsOf('@aws-sdk/client-s3', 'ListObjectsV2Command'), ['s3:ListBucket']);
    });

    it('judges as IAM does: nothing allowed is refused, and a denial counts more than an allowance', () => {
      const allow: Statement = {
        sid: 'a',
        effect: 'Allow',
        actions: ['s3:GetObject'],
        resources: ['arn:x/*'],
        conditions: [],
      };
      const deny: Statement = { ...allow, effect: 'Deny', resources: ['arn:x/secret'] };
      const ask = (resource: string): Ask => ({ action: 's3:GetObject', resource, context: {} });
      assert.ok(isAllowed([allow, deny], ask('arn:x/a')));
      assert.ok(!isAllowed([allow, deny], ask('arn:x/secret')));
      assert.ok(!isAllowed([allow], ask('arn:y/a')));
      const bound = { ...allow, conditions: [{ test: 'StringEquals', variable: 'k', values: ['v'] }] };
      assert.ok(!isAllowed([bound], ask('arn:x/a')), 'a key that is not there equals nothing');
    });
  });
});

/** What is allowed, by document. What is denied beside it takes nothing away that the program needs. */
function actionsByDocument(files: TerraformFile[], folder: string): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const { place, block, actions } of policyStatements(files)) {
    const [, document] = /^(?:\S+) aws_iam_policy_document\.(\w+) /.exec(place) ?? [];
    if (document === undefined || !place.startsWith(`${folder}/`) || block['effect'] === 'Deny') continue;
    const known = found.get(document) ?? new Set<string>();
    for (const action of actions as string[]) known.add(action);
    found.set(document, known);
  }
  return found;
}

function differences(needed: Set<string>, allowed: Set<string>, verb: 'calls' | 'needs'): string[] {
  const missing = [...needed].filter((action) => !allowed.has(action));
  const extra = [...allowed].filter((action) => !needed.has(action));
  return [
    ...missing.sort().map((action) => `missing in the policy: ${action}, which the program ${verb}`),
    ...extra.sort().map((action) => `too much in the policy: ${action}, which the program never ${verb}`),
  ];
}
