import { awsInstances } from '../../control-plane/servers/providers/rds/aws.ts';
import type { Instances } from '../../control-plane/servers/providers/rds/instances.ts';
import { rdsWith, type Rds } from '../../control-plane/servers/providers/rds/rds.ts';
import { MOTO_SITE, MOTO_SITE_REGION } from '../../scripts/launcher/moto-site.ts';
import { MOTO_CREDENTIALS, type Moto } from './moto.ts';

export {
  MOTO_SITE as SITE,
  MOTO_SITE_REGION as AWS_REGION,
  motoRdsClient as motoClient,
  prepareSite,
} from '../../scripts/launcher/moto-site.ts';

/** RDS as moto has it, and what each instance stands on. */
export function motoRds(
  moto: Moto,
  standIns: Record<string, string>,
  wrap: (instances: Instances) => Instances = (instances) => instances,
): Rds {
  const options = { endpoint: moto.url, credentials: MOTO_CREDENTIALS };
  const instances = awsInstances({ eu: MOTO_SITE_REGION }, options);
  const config = { fleetName: 'fleet', rdsSites: { eu: MOTO_SITE }, rdsEndpoints: standIns };
  return rdsWith(config, wrap(instances));
}

/** moto does everything at once. Here a change shows at the second look only, as on AWS it does after minutes. */
export function slow(instances: Instances): Instances {
  const busy = new Map<string, string>();
  const lag =
    <A extends { identifier: string }>(status: string, work: (place: A) => Promise<void>) =>
    async (place: A): Promise<void> => {
      await work(place);
      busy.set(place.identifier, status);
    };
  return {
    ...instances,
    create: lag('creating', (order) => instances.create(order)),
    change: async (place, changes) => {
      await instances.change(place, changes);
      busy.set(place.identifier, 'modifying');
    },
    stop: lag('stopping', (place) => instances.stop(place)),
    start: lag('starting', (place) => instances.start(place)),
    find: async (place) => {
      const found = await instances.find(place);
      const status = busy.get(place.identifier);
      busy.delete(place.identifier);
      return found === undefined || status === undefined ? found : { ...found, status };
    },
  };
}
