/**
 * Whether version `a` comes before `b` in the order of semver.org (2.0.0, section 11): a pre-release before its release,
 * build metadata without a say. Both have been checked to be such versions.
 */
export function isBelow(a: string, b: string): boolean {
  const [one, other] = [parse(a), parse(b)];
  return (compareAll(one.core, other.core) || comparePre(one.pre, other.pre)) < 0;
}

function parse(version: string): { core: string[]; pre: string[] } {
  const [plain = ''] = version.split('+');
  const [core = '', ...pre] = plain.split('-');
  return { core: core.split('.'), pre: pre.length === 0 ? [] : pre.join('-').split('.') };
}

/** A release has no identifiers, and comes after all that have some. */
function comparePre(a: string[], b: string[]): number {
  if (a.length === 0 || b.length === 0) return b.length - a.length;
  return compareAll(a, b);
}

function compareAll(a: string[], b: string[]): number {
  const differing = a.findIndex((part, index) => part !== b[index]);
  const [part, other] = [a[differing], b[differing]];
  if (part === undefined || other === undefined) return a.length - b.length;
  return compareOne(part, other);
}

/** Numbers by their value and before words, words as ASCII has them. */
function compareOne(a: string, b: string): number {
  const [first, second] = [isNumber(a), isNumber(b)];
  if (first && second) return Number(a) - Number(b);
  if (first !== second) return first ? -1 : 1;
  return a < b ? -1 : 1;
}

function isNumber(text: string): boolean {
  return /^\d+$/.test(text);
}
