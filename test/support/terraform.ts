import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';
import { projectRoot } from '../../platform/project.ts';

/** Its types pull in those of browsers, under which other files no longer compile; so they are said here. */
const require = createRequire(import.meta.url);
const { parse } = require('@cdktf/hcl2json') as { parse: (name: string, text: string) => Promise<Block> };

const ROOT = join(projectRoot(), 'terraform');

/** A block of HCL as JSON: names to values; expressions are strings like `${var.name}`. */
export type Block = Record<string, unknown>;

/** A block with its place, e.g. `modules/key/main.tf aws_kms_key.this`. */
export interface Placed {
  place: string;
  type: string;
  block: Block;
}

export interface TerraformFile {
  /** Relative to terraform/, e.g. `modules/key/main.tf`. */
  path: string;
  text: string;
  content: Block;
}

/** All `.tf` files below terraform/, parsed. */
export async function terraformFiles(): Promise<TerraformFile[]> {
  const entries = readdirSync(ROOT, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile() && entry.name.endsWith('.tf'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.includes('/.terraform/'));
  return await Promise.all(
    paths.sort().map(async (path) => {
      const text = readFileSync(path, 'utf8');
      return { path: relative(ROOT, path), text, content: await parse(path, text) };
    }),
  );
}

/** Names in a folder of terraform/. */
export function terraformFolder(...parts: string[]): string[] {
  return readdirSync(join(ROOT, ...parts)).sort();
}

export function terraformText(...parts: string[]): string {
  return readFileSync(join(ROOT, ...parts), 'utf8');
}

/** Blocks of one label, `variable` or `output`. */
export function named(files: TerraformFile[], kind: 'variable' | 'output'): Placed[] {
  return files.flatMap((file) => labelled(file, kind, file.content[kind]));
}

/** Blocks of two labels, `resource` or `data`. */
export function typed(files: TerraformFile[], kind: 'resource' | 'data'): Placed[] {
  return files.flatMap((file) =>
    Object.entries(asBlock(file.content[kind])).flatMap(([type, blocks]) => labelled(file, type, blocks)),
  );
}

/** The actions that a policy document allows or denies, by statement. */
export function policyStatements(files: TerraformFile[]): (Placed & { actions: unknown })[] {
  return typed(files, 'data')
    .filter(({ type }) => type === 'aws_iam_policy_document')
    .flatMap((document) =>
      blocks(document.block['statement']).map((block) => ({
        ...document,
        place: `${document.place} ${String(block['sid'])}`,
        block,
        actions: block['actions'],
      })),
    );
}

/** Blocks inside a block, which HCL allows to be one or many. */
export function blocks(value: unknown): Block[] {
  return (Array.isArray(value) ? value : [value]).filter((item) => item !== undefined).map(asBlock);
}

function labelled(file: TerraformFile, type: string, value: unknown): Placed[] {
  return Object.entries(asBlock(value)).flatMap(([name, bodies]) =>
    blocks(bodies).map((block) => ({ place: `${file.path} ${type}.${name}`, type, block })),
  );
}

function asBlock(value: unknown): Block {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Block) : {};
}
