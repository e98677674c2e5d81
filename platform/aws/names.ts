/**
 * What a fleet's things in AWS are called and marked with. The rights that `terraform/` gives hang on these names
 * and tags; test/unit/aws-rights.test.ts holds the two against each other.
 */
export interface AwsOwner {
  /** The fleet's region, which its secrets and keys never leave. */
  region: string;
  /** `tenant:<id>` or `server:<id>`. */
  owner: string;
}

export interface AwsSubject extends AwsOwner {
  /** What the secret opens: `database:<id>` or `server:<id>`. */
  subject: string;
}

/** Where the secret of a subject is. Who may read a region's tenants may so be said by the name's start. */
export function secretName(fleet: string, subject: AwsSubject): string {
  return `${ownerPath(fleet, subject)}/${flat(subject.subject)}`;
}

/** By which an owner's key is found. */
export function keyAlias(fleet: string, owner: AwsOwner): string {
  return `alias/${ownerPath(fleet, owner)}`;
}

/** What the names of all that is an owner's begin with. */
export function ownerPath(fleet: string, { region, owner }: AwsOwner): string {
  return [fleet, region, flat(owner)].join('/');
}

/** Marks all secrets and keys that the control plane makes, beside what Terraform has made. */
export const SECRETS_COMPONENT = 'secrets';

/**
 * The marks of something that belongs to a fleet, by which policies, bills and people tell whose it is.
 * `about`: `tenant:<id>` and the like, each to be found as `fleet:<kind>`.
 */
export function awsTags(
  fleet: string,
  region: string,
  component: string,
  about: string[],
): Record<string, string> {
  const ids = about.map((name) => {
    const [kind = '', id = ''] = name.split(':');
    return [`fleet:${kind}`, id];
  });
  return {
    'fleet:fleet': fleet,
    'fleet:region': region,
    'fleet:component': component,
    ...(Object.fromEntries(ids) as Record<string, string>),
  };
}

/** Names of secrets and keys know no colon. */
function flat(name: string): string {
  return name.replace(':', '-');
}
