import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import ts from 'typescript';
import { projectRoot } from '../../platform/project.ts';

/** IAM's prefix for each client of the SDK. */
const SERVICES: Record<string, string> = {
  '@aws-sdk/client-kms': 'kms',
  '@aws-sdk/client-rds': 'rds',
  '@aws-sdk/client-s3': 's3',
  '@aws-sdk/client-secrets-manager': 'secretsmanager',
};

/** Where IAM has another name for a call than the SDK. */
const OTHER_NAMES: Record<string, string[]> = {
  'kms:ReEncrypt': ['kms:ReEncryptFrom', 'kms:ReEncryptTo'],
  's3:HeadObject': ['s3:GetObject'],
  's3:HeadBucket': ['s3:ListBucket'],
  's3:ListObjects': ['s3:ListBucket'],
  's3:ListObjectsV2': ['s3:ListBucket'],
  's3:DeleteObjects': ['s3:DeleteObject'],
  's3:CopyObject': ['s3:GetObject', 's3:PutObject'],
  's3:CreateMultipartUpload': ['s3:PutObject'],
  's3:UploadPart': ['s3:PutObject'],
  's3:CompleteMultipartUpload': ['s3:PutObject'],
};

/** What of a client is no call: the client itself, its errors, and enumerations. */
const NO_CALL = /(Client|Exception)$/;

/** IAM's actions for a command, e.g. `CreateKeyCommand` of client-kms. */
export function actionsOf(module: string, command: string): string[] {
  const service = SERVICES[module];
  if (service === undefined) throw new Error(`${module} has no IAM prefix here: add it to SERVICES`);
  const name = `${service}:${command.replace(/Command$/, '')}`;
  return OTHER_NAMES[name] ?? [name];
}

/** Reading a whole program takes a second. */
const known = new Map<string, Set<string>>();

/** The actions that a program needs: of every command that its sources can make, by way of what they import. */
export function actionsOfProgram(main: string): Set<string> {
  const actions = known.get(main) ?? new Set<string>();
  if (known.has(main)) return actions;
  known.set(main, actions);
  for (const file of sourcesOf(join(projectRoot(), main))) {
    const source = readSource(file);
    for (const action of actionsIn(source, relative(projectRoot(), file))) actions.add(action);
  }
  return actions;
}

/**
 * The actions of one source. @throws Error for what cannot be followed: whole clients imported, and waiters, whose
 * calls stand nowhere in the source
 */
export function actionsIn(source: ts.SourceFile, place: string): string[] {
  return importsOf(source).flatMap(({ module, names }) => {
    if (!module.startsWith('@aws-sdk/')) return [];
    if (names === undefined)
      throw new Error(`${place} imports ${module} whole: its calls cannot be followed`);
    return names
      .filter((name) => !NO_CALL.test(name))
      .flatMap((name) => {
        if (name.endsWith('Command')) return actionsOf(module, name);
        if (name.startsWith('paginate')) return actionsOf(module, name.slice('paginate'.length));
        throw new Error(`${place} imports ${name} of ${module}: say in aws-calls.ts what it calls`);
      });
  });
}

export function parseSource(name: string, text: string): ts.SourceFile {
  return ts.createSourceFile(name, text, ts.ScriptTarget.Latest);
}

function readSource(file: string): ts.SourceFile {
  return parseSource(file, readFileSync(file, 'utf8'));
}

/** A file of ours and all that it loads, at once or later. */
function sourcesOf(main: string): Set<string> {
  const found = new Set([main]);
  for (const file of found) {
    for (const { module } of importsOf(readSource(file))) {
      if (!module.startsWith('.')) continue;
      const next = join(dirname(file), module);
      if (!existsSync(next)) throw new Error(`${file} imports ${module}, which is not there`);
      found.add(next);
    }
  }
  return found;
}

interface Import {
  module: string;
  /** Undefined: all of it. */
  names: string[] | undefined;
}

/** What is loaded when the program runs: not what is imported as a type. */
function importsOf(source: ts.SourceFile): Import[] {
  const found: Import[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
      const names = importedNames(node.importClause);
      if (names?.length !== 0) found.push({ module: node.moduleSpecifier.text, names });
    } else if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined && !node.isTypeOnly) {
      found.push({ module: (node.moduleSpecifier as ts.StringLiteral).text, names: undefined });
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [module] = node.arguments;
      if (module !== undefined && ts.isStringLiteral(module)) {
        found.push({ module: module.text, names: undefined });
      }
    }
    // Below the top only `import()` can stand, which few files have.
    if (node === source || source.text.includes('import(')) ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** Undefined: all of it; empty: types alone. */
function importedNames(clause: ts.ImportClause | undefined): string[] | undefined {
  if (clause === undefined) return undefined;
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return [];
  const { namedBindings } = clause;
  if (namedBindings === undefined || ts.isNamespaceImport(namedBindings)) return undefined;
  return namedBindings.elements
    .filter((element) => !element.isTypeOnly)
    .map((element) => (element.propertyName ?? element.name).text);
}
