/** A JSON value that is walked, not understood. */
type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/**
 * Mends what the generator gets wrong or leaves over. It writes a nullable reference as the intersection of
 * the component and `[type, null]`, which no null satisfies; and it keeps components that nothing refers to.
 */
export function repairDocument(document: object): object {
  const mended = mendNullable(JSON.parse(JSON.stringify(document)) as Json) as Record<string, Json>;
  return pruned(mended);
}

function mendNullable(value: Json): Json {
  if (Array.isArray(value)) return value.map(mendNullable);
  if (typeof value !== 'object' || value === null) return value;
  const reference = nullableReference(value);
  if (reference !== undefined) return { anyOf: [{ $ref: reference }, { type: 'null' }] };
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mendNullable(item)]));
}

/** `{allOf: [{$ref}, {type: [..., 'null']}]}` → the reference. */
function nullableReference(value: { [key: string]: Json }): string | undefined {
  if (!Array.isArray(value.allOf) || value.allOf.length !== 2) return undefined;
  const [reference, extra] = value.allOf;
  if (!isObject(reference) || !isObject(extra) || typeof reference.$ref !== 'string') return undefined;
  const types = extra.type ?? extra.enum;
  return Array.isArray(types) && types.includes('null') ? reference.$ref : undefined;
}

function isObject(value: Json | undefined): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Only the components that paths reach; security schemes are named otherwise and stay. */
function pruned(document: Record<string, Json>): Record<string, Json> {
  const { components } = document;
  if (!isObject(components)) return document;
  const used = new Set<string>();
  const visit = (value: Json | undefined): void => {
    for (const reference of references(value)) {
      if (used.has(reference)) continue;
      used.add(reference);
      const [kind = '', name = ''] = reference.split('/').slice(-2);
      const members = components[kind];
      if (isObject(members)) visit(members[name]);
    }
  };
  visit(document.paths);
  const kept = Object.entries(components).map(([kind, members]) => {
    if (!isObject(members) || kind === 'securitySchemes') return [kind, members] as const;
    const names = Object.keys(members).filter((name) => used.has(`#/components/${kind}/${name}`));
    return [kind, Object.fromEntries(names.sort().map((name) => [name, members[name] ?? null]))] as const;
  });
  return { ...document, components: Object.fromEntries(kept) };
}

function references(value: Json | undefined): string[] {
  if (Array.isArray(value)) return value.flatMap(references);
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([key, item]) =>
    key === '$ref' && typeof item === 'string' ? [item] : references(item),
  );
}
