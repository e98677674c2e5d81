import type { Config } from '../../platform/config.ts';
import type { Registry } from '../registry/registry.ts';
import type { MasterKey } from './keys/master-key.ts';
import { createRemoteSecrets, createSecrets, type Secrets } from './secret.ts';

export interface OpenedSecrets {
  secrets: Secrets;
  close(): void;
}

/** Secrets in the store that the configuration names. */
export async function openSecrets(options: {
  config: Config;
  masterKey: MasterKey;
  registry: Registry;
}): Promise<OpenedSecrets> {
  const { config, masterKey, registry } = options;
  const wanted = { retentionDays: config.keyRetentionDays };
  if (config.secretStore === 'local') {
    return { secrets: createSecrets(masterKey, wanted), close: () => undefined };
  }
  // Only here: whoever does not use AWS does not pay for loading its SDK at each start.
  const [{ openAwsRegions }, { kmsKeys }, { awsStore }] = await Promise.all([
    import('./aws/regions.ts'),
    import('./keys/kms.ts'),
    import('./stores/aws.ts'),
  ]);
  const regions = openAwsRegions(config.fleetName, config.awsRegions);
  const store = awsStore({ regions, keys: kmsKeys(regions) });
  return { secrets: createRemoteSecrets(masterKey, store, registry, wanted), close: () => regions.close() };
}
