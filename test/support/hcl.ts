import { createRequire } from 'node:module';
import type { Block, TerraformFile } from './terraform.ts';

/** Its types pull in those of browsers, see terraform.ts. */
const require = createRequire(import.meta.url);
const { getExpressionAst } = require('@cdktf/hcl2json') as {
  getExpressionAst: (name: string, expression: string) => Promise<Node | null>;
};

interface Node {
  type: string;
  children: Node[];
  meta: Record<string, unknown> & { traversal?: { segment: string }[] };
}

/** What a module is given: its variables, and what its data sources find. */
export interface Given {
  var: Block;
  data: Block;
}

/** Values of a module's expressions, as far as policies need the language; anything else is an error. */
export interface HclModule {
  /** `value` as the parser has it: strings may hold `${…}`, at any depth. */
  evaluate(value: unknown): Promise<unknown>;
}

/** @param folder of the module, such as `modules/control-plane` */
export function hclModule(files: TerraformFile[], folder: string, given: Given): HclModule {
  const own = files.filter(
    ({ path }) => path.startsWith(`${folder}/`) && !path.slice(folder.length + 1).includes('/'),
  );
  const locals = new Map<string, unknown>();
  for (const { content } of own) {
    for (const block of [content['locals'] ?? []].flat()) {
      for (const [name, value] of Object.entries(block as Block)) locals.set(name, value);
    }
  }
  const module: Module = { locals, given };
  return { evaluate: (value) => valueOf(module, new Map(), value) };
}

interface Module {
  locals: Map<string, unknown>;
  given: Given;
}
type Scope = Map<string, unknown>;

async function valueOf(module: Module, scope: Scope, value: unknown): Promise<unknown> {
  if (Array.isArray(value)) return all(value.map((item) => valueOf(module, scope, item)));
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(
      async ([name, item]) => [name, await valueOf(module, scope, item)] as const,
    );
    return Object.fromEntries(await Promise.all(entries));
  }
  if (typeof value !== 'string' || !value.includes('${')) return value;
  const node = await getExpressionAst('policy.tf', `"${value}"`);
  if (node === null) throw new Error(`not an expression: ${value}`);
  return evaluate(module, scope, node);
}

async function evaluate(module: Module, scope: Scope, node: Node): Promise<unknown> {
  const child = (index: number): Promise<unknown> => {
    const found = node.children[index];
    if (found === undefined) throw new Error(`${node.type} without its part ${index}`);
    return evaluate(module, scope, found);
  };
  const children = (): Promise<unknown[]> => all(node.children.map((one) => evaluate(module, scope, one)));
  switch (node.type) {
    case 'literalValue':
      return node.meta['value'];
    case 'template':
      return (await children()).map(String).join('');
    case 'templateWrap':
      return child(0);
    case 'tuple':
      return children();
    case 'function':
      return call(String(node.meta['name']), await children());
    case 'for':
      return loop(module, scope, node);
    case 'scopeTraversal':
      return follow(await rootOf(module, scope, segments(node)), node);
    case 'relativeTraversal':
      return segments(node).reduce(step, await child(0));
    case 'index':
      return step(await child(0), String(await child(1)));
    default:
      throw new Error(`${node.type} is not known here: ${String(node.meta['value'])}`);
  }
}

function segments(node: Node): string[] {
  return (node.meta.traversal ?? []).map(({ segment }) => segment);
}

/** The value that a name stands for, and the rest of the way. */
async function rootOf(module: Module, scope: Scope, path: string[]): Promise<[unknown, string[]]> {
  const [root = '', name = '', ...rest] = path;
  if (scope.has(root)) return [scope.get(root), path.slice(1)];
  if (root === 'local') return [await valueOf(module, new Map(), module.locals.get(name)), rest];
  if (root === 'var' || root === 'data') return [module.given[root], path.slice(1)];
  throw new Error(`${path.join('.')} is not known here`);
}

function follow([value, rest]: [unknown, string[]], node: Node): unknown {
  const found = rest.reduce(step, value);
  if (found === undefined) throw new Error(`${segments(node).join('.')} has no value here`);
  return found;
}

function step(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Block)[name] : undefined;
}

/** `[for k, v in c : x]` and `{ for k, v in c : y => x }`. */
async function loop(module: Module, scope: Scope, node: Node): Promise<unknown> {
  if (node.meta['conditionalExpression'] !== undefined) throw new Error('for … if is not known here');
  const [collection, ...parts] = node.children;
  const made = parts.at(-1);
  if (collection === undefined || made === undefined) throw new Error('a loop without a body');
  const over = (await evaluate(module, scope, collection)) as Block | unknown[];
  const isMap = parts.length === 2;
  const entries = Object.entries(over).map(async ([key, value]) => {
    const inner = new Map(scope).set(String(node.meta['valVar']), value);
    if (typeof node.meta['keyVar'] === 'string') inner.set(node.meta['keyVar'], key);
    const name = isMap && parts[0] !== undefined ? await evaluate(module, inner, parts[0]) : key;
    return [String(name), await evaluate(module, inner, made)] as const;
  });
  const results = await Promise.all(entries);
  return isMap ? Object.fromEntries(results) : results.map(([, value]) => value);
}

function call(name: string, values: unknown[]): unknown {
  const [first] = values;
  if (name === 'concat') return values.flat();
  if (name === 'flatten') return [first].flat(Infinity);
  if (name === 'distinct' || name === 'toset') return [...new Set(first as unknown[])];
  if (name === 'keys') return Object.keys(first as Block);
  if (name === 'values') return Object.values(first as Block);
  throw new Error(`the function ${name} is not known here`);
}

function all(values: Promise<unknown>[]): Promise<unknown[]> {
  return Promise.all(values);
}
