/**
 * The directions of docs/architecture.md, as rules. Slices of the control plane import downwards only:
 * each rule names a folder and what it may reach; everything else in the project is forbidden to it.
 */
const SLICES = [
  'rollouts',
  'drift',
  'connections',
  'rotations',
  'tenants',
  'apps',
  'releases',
  'servers',
  'secrets',
];
const ENGINE = ['operations', 'audit', 'access', 'registry'];
const SHARED = ['contract', 'platform'];
const PRODUCT = '^(contract|platform|control-plane|tenant-app|fleet-cli|scripts|test)/';

/** `from` may reach itself, `targets` (path prefixes) and npm packages; nothing else of the project. */
function only(from, targets, exceptions = {}) {
  const allowed = [from, ...targets].map((path) => `^${path}${path.includes('.') ? '$' : '/'}`);
  return {
    name: `only-down-from-${from.replace('control-plane/', '')}`,
    severity: 'error',
    from: { path: `^${from}/`, ...exceptions },
    to: { path: PRODUCT, pathNot: allowed },
  };
}

const inControlPlane = (names) => names.map((name) => `control-plane/${name}`);
/** What slices may use of http/: the forms of routes, event streams and pages, refusals. Who serves them is not theirs. */
const ROUTE_TYPES = 'control-plane/http/(route|sse|channel|cursor|conflict|follow).ts';

/** Each slice may use those after it in SLICES, the engine and what is shared. */
const sliceRules = SLICES.map((slice, index) =>
  only(`control-plane/${slice}`, [
    ...inControlPlane(SLICES.slice(index + 1)),
    ...inControlPlane(ENGINE),
    ROUTE_TYPES,
    ...SHARED,
  ]),
);

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      comment:
        'Two modules that need each other are one module, or hide a third. Types alone may point back.',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    only('contract', []),
    only('platform', []),
    only('fleet-cli', SHARED),
    only('tenant-app', SHARED),
    only('tenant-app/routing', SHARED),
    ...sliceRules,
    // The read model: may read every table, and needs credentials; it imports no slice that writes.
    only('control-plane/routes', [...inControlPlane(['secrets', ...ENGINE]), ROUTE_TYPES, ...SHARED]),
    only('control-plane/operations', [
      ...inControlPlane(['audit', 'access', 'registry']),
      ROUTE_TYPES,
      ...SHARED,
    ]),
    only('control-plane/audit', [...inControlPlane(['access', 'registry']), ROUTE_TYPES, ...SHARED]),
    only('control-plane/access', [...inControlPlane(['audit', 'registry']), ROUTE_TYPES, ...SHARED]),
    only('control-plane/registry', SHARED),
    only('control-plane/http', [...inControlPlane(['audit', 'access', 'registry']), ...SHARED]),
    {
      name: 'http-is-mounted-by-the-composition-only',
      comment: 'Slices describe routes as data (http/route.ts); who serves them is not their business.',
      severity: 'error',
      from: { path: '^control-plane/', pathNot: '^control-plane/(http/|[^/]+\\.ts$)' },
      to: { path: '^control-plane/http/', pathNot: `^${ROUTE_TYPES}$` },
    },
    {
      name: 'the-cli-holds-no-database-driver',
      comment:
        'It talks to the API only. node-pg-migrate is for rendering migrations: it opens no connection.',
      severity: 'error',
      from: { path: '^fleet-cli/' },
      to: { path: ['^node_modules/pg/', '^platform/pg\\.ts$'] },
    },
    {
      name: 'the-queue-only-in-operations',
      comment: 'graphile-worker only wakes; whoever called it elsewhere would build on its delivery.',
      severity: 'error',
      from: {
        path: '^(control-plane|tenant-app|fleet-cli|platform)/',
        pathNot: '^control-plane/operations/',
      },
      to: { path: '^node_modules/graphile-worker/' },
    },
    {
      name: 'secrets-on-aws-behind-their-interfaces',
      comment:
        'Who needs a secret or a key asks SecretStore or KeyService; only these files know whose they are. A tenant app reads values by itself, by what platform/ has for that.',
      severity: 'error',
      from: {
        path: '^(control-plane|tenant-app|fleet-cli|platform)/',
        pathNot:
          '^(control-plane/secrets/(stores/aws|keys/kms|aws/regions)|platform/aws/secret-(values|reader))\\.ts$',
      },
      to: { path: '^node_modules/@aws-sdk/client-(secrets-manager|kms)/' },
    },
    {
      name: 'no-tests-in-the-product',
      severity: 'error',
      from: { path: '^(contract|platform|control-plane|tenant-app|fleet-cli|scripts)/' },
      to: { path: '^test/' },
    },
    {
      name: 'no-undeclared-package',
      severity: 'error',
      from: { path: '^(contract|platform|control-plane|tenant-app|fleet-cli)/' },
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown', 'npm-dev'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'not-to-unresolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|coverage)/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
