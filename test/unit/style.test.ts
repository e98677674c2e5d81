import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';
import { projectRoot } from '../../platform/project.ts';

/**
 * What a reviewer would otherwise say every time, after tigerbeetle's tidy.zig. Each finding names file and
 * line; a rule that is in the way is changed here, with a reason, not switched off where it hurts.
 */
const ROOT = projectRoot();
const PRODUCT = ['contract', 'platform', 'control-plane', 'tenant-app', 'fleet-cli'];
const CODE = [...PRODUCT, 'scripts', 'test'];
const TEXT = [...CODE, 'docs', 'migrations', '.ci'];

/** A file is read from top to bottom without losing the thread. */
const FILE_LINES_MAX = 400;
const FILE_LINES_MEDIAN_MAX = 100;
const FILE_LINES_P90_MAX = 250;
/** A function fits on one screen. */
const FUNCTION_LINES_MAX = 70;

/** Where the environment may be read: the programs' mains, and the one place that checks it. */
const ENVIRONMENT_READERS = [
  /^[^/]+\/main\.ts$/,
  /^platform\/config\.ts$/,
  /^scripts\//,
  /^test\//,
  // Passes PATH on to PostgreSQL's programs; reads no configuration.
  /^control-plane\/servers\/providers\/cluster\.ts$/,
];
/** The one table of them. */
const NAMES_OF_SQLSTATES = 'platform/errors.ts';
const TEXT_SEARCHES = new Set(['includes', 'match', 'startsWith', 'endsWith', 'search', 'indexOf']);

interface Source {
  path: string;
  text: string;
  lines: number;
}

interface Code extends Source {
  tree: ts.SourceFile;
}

describe('style', () => {
  const code = filesOf(CODE, ['.ts']).map(parse);
  const product = code.filter((file) => PRODUCT.some((folder) => file.path.startsWith(`${folder}/`)));

  it(`keeps files within ${FILE_LINES_MAX} lines, most of them far below`, () => {
    const long = code.filter((file) => file.lines > FILE_LINES_MAX);
    assert.deepEqual(
      long.map((file) => `${file.path}: ${file.lines} lines`),
      [],
    );
    const sizes = product.map((file) => file.lines).sort((a, b) => a - b);
    const [median, p90] = [quantile(sizes, 0.5), quantile(sizes, 0.9)];
    assert.ok(median <= FILE_LINES_MEDIAN_MAX, `the median file has ${median} lines`);
    assert.ok(p90 <= FILE_LINES_P90_MAX, `one file in ten has more than ${p90} lines`);
  });

  it(`keeps functions within ${FUNCTION_LINES_MAX} lines`, () => {
    assert.deepEqual(findings(code, longFunction), []);
  });

  it('has no `any`, no default export, no import without extension', () => {
    assert.deepEqual(findings(code, bannedSyntax), []);
  });

  it('recognises no error by the text of its message', () => {
    assert.deepEqual(findings(code, messageSearch), []);
  });

  it('calls errors of PostgreSQL by their names', () => {
    const others = product.filter((file) => file.path !== NAMES_OF_SQLSTATES);
    assert.deepEqual(findings(others, bareSqlState), []);
  });

  it('reads the environment in mains only', () => {
    const others = code.filter((file) => !ENVIRONMENT_READERS.some((allowed) => allowed.test(file.path)));
    assert.deepEqual(findings(others, environmentRead), []);
  });

  it('leaves no note of unfinished work, and no path or registry of one machine', () => {
    const notes = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X'.repeat(3)].join('|')})\\b`);
    const machine = new RegExp(
      ['/wo' + 'rk/', '/ro' + 'ot/', '/ho' + 'me/\\w', 'registry\\.' + 'npmjs'].join('|'),
    );
    const files = [...filesOf(TEXT, ['.ts', '.mjs', '.cjs', '.md', '.sql', '.yaml', 'run']), ...rootFiles()];
    assert.deepEqual(
      files.flatMap((file) => linesWith(file, notes).concat(linesWith(file, machine))),
      [],
    );
  });

  it('locks versions and hashes of packages, not the address of a registry', () => {
    const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { resolved?: string }>;
    };
    const addressed = Object.entries(lock.packages).filter(([, entry]) => entry.resolved !== undefined);
    assert.deepEqual(
      addressed.map(([path]) => path),
      [],
    );
  });
});

function filesOf(folders: string[], endings: string[]): Source[] {
  return folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && endings.some((ending) => entry.name.endsWith(ending)))
      .map((entry) => read(join(entry.parentPath, entry.name))),
  );
}

function rootFiles(): Source[] {
  return readdirSync(ROOT, { withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(md|json|js|cjs)$/.test(entry.name))
    .filter((entry) => entry.name !== 'package-lock.json')
    .map((entry) => read(join(ROOT, entry.name)));
}

function read(file: string): Source {
  const text = readFileSync(file, 'utf8');
  return { path: relative(ROOT, file), text, lines: text.split('\n').length - 1 };
}

function parse(source: Source): Code {
  return { ...source, tree: ts.createSourceFile(source.path, source.text, ts.ScriptTarget.ES2023, true) };
}

type Rule = (node: ts.Node) => string | undefined;

function findings(files: Code[], rule: Rule): string[] {
  const found: string[] = [];
  for (const file of files) {
    const visit = (node: ts.Node): void => {
      const finding = rule(node);
      if (finding !== undefined) found.push(`${file.path}:${lineOf(file.tree, node.getStart())} ${finding}`);
      ts.forEachChild(node, visit);
    };
    visit(file.tree);
  }
  return found;
}

function lineOf(tree: ts.SourceFile, position: number): number {
  return tree.getLineAndCharacterOfPosition(position).line + 1;
}

function longFunction(node: ts.Node): string | undefined {
  if (!ts.isFunctionLike(node) || isSuite(node)) return undefined;
  const tree = node.getSourceFile();
  const lines = lineOf(tree, node.getEnd()) - lineOf(tree, node.getStart()) + 1;
  return lines > FUNCTION_LINES_MAX ? `a function of ${lines} lines` : undefined;
}

/** The callback of `describe`: a list of tests, not a piece of logic. */
function isSuite(node: ts.Node): boolean {
  return (
    ts.isCallExpression(node.parent) &&
    ts.isIdentifier(node.parent.expression) &&
    node.parent.expression.text === 'describe'
  );
}

function bannedSyntax(node: ts.Node): string | undefined {
  if (node.kind === ts.SyntaxKind.AnyKeyword) return 'any';
  if (ts.isExportAssignment(node)) return 'a default export';
  if (ts.canHaveModifiers(node) && ts.getModifiers(node)?.some(isDefault)) return 'a default export';
  const target = importTarget(node);
  const isBare = target !== undefined && target.startsWith('.') && !/\.(ts|json)$/.test(target);
  return isBare ? `an import of '${target}' without .ts` : undefined;
}

function isDefault(modifier: ts.ModifierLike): boolean {
  return modifier.kind === ts.SyntaxKind.DefaultKeyword;
}

function importTarget(node: ts.Node): string | undefined {
  if (!ts.isImportDeclaration(node) && !ts.isExportDeclaration(node)) return undefined;
  const target = node.moduleSpecifier;
  return target !== undefined && ts.isStringLiteral(target) ? target.text : undefined;
}

function messageSearch(node: ts.Node): string | undefined {
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return undefined;
  const { expression: object, name } = node.expression;
  const searched = TEXT_SEARCHES.has(name.text) && isMessage(object);
  const tested =
    name.text === 'test' && ts.isRegularExpressionLiteral(object) && node.arguments.some(isMessage);
  return searched || tested ? 'a search in an error message' : undefined;
}

function isMessage(node: ts.Node): boolean {
  return ts.isPropertyAccessExpression(node) && node.name.text === 'message';
}

function bareSqlState(node: ts.Node): string | undefined {
  const isCode = ts.isStringLiteral(node) && /^[0-9][0-9A-Z]{4}$/.test(node.text);
  return isCode ? `the SQLSTATE ${node.text}` : undefined;
}

function environmentRead(node: ts.Node): string | undefined {
  const isEnvironment =
    ts.isPropertyAccessExpression(node) &&
    node.name.text === 'env' &&
    ts.isIdentifier(node.expression) &&
    node.expression.text === 'process';
  return isEnvironment ? 'process.env' : undefined;
}

function linesWith(file: Source, pattern: RegExp): string[] {
  return file.text
    .split('\n')
    .flatMap((line, index) => (pattern.test(line) ? [`${file.path}:${index + 1} ${line.trim()}`] : []));
}

function quantile(sorted: number[], share: number): number {
  return sorted[Math.floor(sorted.length * share)] ?? 0;
}
