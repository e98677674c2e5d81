import { hclModule, type Given } from './hcl.ts';
import { blocks, policyStatements, type TerraformFile } from './terraform.ts';

/** A statement of a policy with all its values, as IAM gets it. */
export interface Statement {
  sid: string;
  effect: 'Allow' | 'Deny';
  actions: string[];
  resources: string[];
  conditions: Condition[];
}

export interface Condition {
  test: string;
  variable: string;
  values: string[];
}

/** What IAM is asked before a call is carried out. */
export interface Ask {
  action: string;
  /** ARN; `*` for what knows no resource. */
  resource: string;
  /** Condition keys that have one value each. */
  context: Record<string, string>;
}

/** The statements of a module's policy documents, with the values that its expressions have when it is given these. */
export async function statementsOf(
  files: TerraformFile[],
  folder: string,
  documents: string[],
  given: Given,
): Promise<Statement[]> {
  const module = hclModule(files, folder, given);
  const own = policyStatements(files).filter(({ place }) =>
    documents.some(
      (name) => place.startsWith(`${folder}/`) && place.includes(` aws_iam_policy_document.${name} `),
    ),
  );
  return Promise.all(
    own.map(async ({ block }) => ({
      sid: String(block['sid']),
      effect: block['effect'] === 'Deny' ? ('Deny' as const) : ('Allow' as const),
      actions: block['actions'] as string[],
      resources: (await module.evaluate(block['resources'])) as string[],
      conditions: await Promise.all(
        blocks(block['condition']).map(async ({ test, variable, values }) => ({
          test: String(test),
          variable: String(variable),
          values: ((await module.evaluate(values)) as unknown[]).map(String),
        })),
      ),
    })),
  );
}

/** IAM's own rule: something must allow it, and nothing deny it. */
export function isAllowed(statements: Statement[], ask: Ask): boolean {
  const applying = statements.filter((statement) => applies(statement, ask));
  return (
    applying.some(({ effect }) => effect === 'Allow') && !applying.some(({ effect }) => effect === 'Deny')
  );
}

function applies({ actions, resources, conditions }: Statement, { action, resource, context }: Ask): boolean {
  return (
    actions.includes(action) &&
    resources.some((pattern) => isLike(resource, pattern)) &&
    conditions.every((condition) => holds(condition, context[condition.variable]))
  );
}

/** A key that the request does not have fails every test but those that ask for that. */
function holds({ test, values }: Condition, found: string | undefined): boolean {
  if (test === 'Null') return values.includes(String(found === undefined));
  if (test.endsWith('IfExists')) {
    return (
      found === undefined || holds({ test: test.slice(0, -'IfExists'.length), variable: '', values }, found)
    );
  }
  if (found === undefined) return false;
  if (test === 'StringEquals' || test === 'Bool') return values.includes(found);
  if (test === 'StringLike' || test === 'ArnLike') return values.some((pattern) => isLike(found, pattern));
  throw new Error(`the condition ${test} is not known here`);
}

function isLike(text: string, pattern: string): boolean {
  const expression = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${expression}$`).test(text);
}
